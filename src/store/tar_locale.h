// libarchive converts names between the thread's locale and UTF-8: this says which locale that is.
#pragma once

#include <clocale>

namespace ftpd {

/// A locale of our own: whatever the process was started with, names are bytes. Owned by a reader or
/// writer, since to make one reads files.
class TarLocale {
 public:
  /// No conversion succeeds, and the reader then keeps the name as it is. In a UTF-8 locale it would
  /// compose what comes decomposed, and a name would not survive.
  [[nodiscard]] static TarLocale for_reading() { return TarLocale("C"); }
  /// Names that are UTF-8 are written as such, others as bytes (`hdrcharset=BINARY`).
  [[nodiscard]] static TarLocale for_writing() { return TarLocale("C.UTF-8"); }

  ~TarLocale() {
    if (locale_ != locale_t{}) ::freelocale(locale_);
  }
  TarLocale(const TarLocale&) = delete;
  TarLocale& operator=(const TarLocale&) = delete;

  /// The calling thread has the locale while this lives.
  class Use {
   public:
    explicit Use(const TarLocale& locale)  // uselocale(3) with none changes nothing
        : former_(::uselocale(locale.locale_)) {}
    ~Use() { ::uselocale(former_); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    locale_t former_;
  };

 private:
  explicit TarLocale(const char* name) : locale_(::newlocale(LC_ALL_MASK, name, locale_t{})) {}

  locale_t locale_;  // none where the system does not have it
};

}  // namespace ftpd
