// ftpc: wiring only.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/options.h"
#include "client/run.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that goes away is an error, not our end
  const auto options = ftpd::client::parse_options({argv + 1, argv + argc}, std::getenv("FTPC_ADDRESS"));
  if (!options) {
    std::fputs(options.error().text.c_str(), options.error().status == 0 ? stdout : stderr);
    return options.error().status;
  }
  return ftpd::client::run(*options);
}
