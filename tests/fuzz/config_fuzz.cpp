// A command line and the config file it names: parsed, validated, written, and read back the same.
// Input: the text of the file, then arguments, all with a zero byte between them.
#include "common/check.hpp"
#include "common/config.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/option_catalogue.hpp"

using namespace eggroll;
using test::toy_catalogue;

namespace {

void expect_round_trip(RunConfig config) {
  config.resume.clear();  // of one invocation, so they are not written
  config.dry_run = config.survive = config.auto_resume = false;
  config.max_seconds = 0;
  test::must_hold(parse_config_text(write_config(config, toy_catalogue()), "written",
                                    toy_catalogue()) == config,
                  "what write_config prints reads back as the same config");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> arguments = test::parts_of(test::text_of(data, size));
  const std::string text = arguments[0];
  try {
    expect_round_trip(parse_config_text(text, "text", toy_catalogue()));
  } catch (const ConfigError&) {
  }
  if (arguments.size() == 1) return 0;
  const auto path = test::scratch().write("config.ini", text);
  arguments[0] = "--config=" + path.string();
  try {
    const ParsedConfig parsed = parse_train_config(arguments, toy_catalogue());
    expect_round_trip(parsed.config);
    validate_config(parsed.config, toy_catalogue(), parsed.given);
  } catch (const ConfigError& error) {
    test::must_hold(std::string_view(error.what()).find_first_of("\n\r") == std::string_view::npos,
                    "an error is one line");
  }
  return 0;
}
