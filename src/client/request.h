// One request, one reply: the Task of the simple verbs.
#pragma once

#include <string>
#include <string_view>

#include "client/connection.h"
#include "client/report.h"
#include "ftpd/json_write.h"

namespace ftpd::client {

/// Adds a path to a request: `filename`, or `filename_base64` where it is not plain UTF-8.
void add_filename(JsonObject& request, std::string_view path);
/// The same for where `mv` goes: `to`, or `to_base64`.
void add_to(JsonObject& request, std::string_view path);

/// Sends `request` and takes its reply; a refusal goes to the report, anything else to the derived class.
class RequestTask : public Task {
 public:
  RequestTask(Report& report, std::string subject, std::string request)
      : report_(report), subject_(std::move(subject)), request_(std::move(request)) {}

  [[nodiscard]] Outcome<Supply> supply(Connection& connection) final;
  [[nodiscard]] Outcome<void> header(const Header& header) final;
  [[nodiscard]] Outcome<Next> body(std::string_view bytes) final;
  [[nodiscard]] Outcome<Next> end() final;

  [[nodiscard]] const std::string& refused_code() const { return refused_code_; }
  [[nodiscard]] bool refused() const { return !refused_code_.empty(); }

 protected:
  [[nodiscard]] virtual Outcome<void> reply(const Header& header) = 0;
  [[nodiscard]] virtual Outcome<void> piece(std::string_view) { return {}; }
  [[nodiscard]] virtual Outcome<void> complete() { return {}; }
  /// Says it, unless the derived class knows a way on.
  virtual void refuse(const Failure& failure, std::string_view reply_json) {
    report_.failed(subject_, failure, reply_json);
  }

  Report& report() { return report_; }
  [[nodiscard]] const std::string& subject() const { return subject_; }

 private:
  Report& report_;
  std::string subject_;
  std::string request_;
  std::string refused_code_;
  bool sent_ = false;
};

}  // namespace ftpd::client
