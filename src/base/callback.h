// A bound member function without allocation: what watches, timers and tasks call.
#pragma once

#include <utility>

namespace ftpd {

template <class Signature>
class Callback;

/// Borrows the object it calls: whoever registers a callback outlives the registration.
template <class... Args>
class Callback<void(Args...)> {
 public:
  Callback() = default;

  /// Callback<void(int)>::to<&Thing::on_event>(thing)
  template <auto Method, class Object>
  [[nodiscard]] static Callback to(Object& object) {
    Callback callback;
    callback.object_ = &object;
    callback.call_ = [](void* self, Args... args) {
      (static_cast<Object*>(self)->*Method)(std::forward<Args>(args)...);
    };
    return callback;
  }

  void operator()(Args... args) const { call_(object_, std::forward<Args>(args)...); }
  explicit operator bool() const { return call_ != nullptr; }

 private:
  void* object_ = nullptr;
  void (*call_)(void*, Args...) = nullptr;
};

}  // namespace ftpd
