#include "common/options.hpp"

#include <algorithm>
#include <cmath>

namespace eggroll {

std::string shown(std::string_view text) {
  constexpr size_t kMostShown = 80;
  std::string line(text.substr(0, kMostShown));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return text.size() > kMostShown ? line + "..." : line;
}

std::string shown_or_quotes(std::string_view text) { return text.empty() ? "''" : shown(text); }

OptionError::OptionError(std::string name, std::string value, std::string what, std::string source)
    : ConfigError(shown(name) + " = " + shown_or_quotes(value) +
                  (source.empty() ? "" : " (" + shown(source) + ")") + ": " + what),
      name(std::move(name)),
      value(std::move(value)),
      problem(std::move(what)),
      source(std::move(source)) {}

std::string number_text(double value) {
  const double size = std::abs(value);
  const bool is_plain = value == 0 || (size >= 1e-4 && size < 1e16);
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof text, value,
                    is_plain ? std::chars_format::fixed : std::chars_format::scientific)
          .ptr;
  return {text, end};
}

bool read_number(std::string_view text, double& value) {
  double read = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, read);
  if (error != std::errc{} || rest != end || text.empty()) return false;
  value = read;
  return true;
}

Option& Options::add(std::string name, std::string value_name, std::string help,
                     std::string allowed, std::function<bool(std::string_view)> set,
                     std::function<std::string()> text) {
  require(find(name) == nullptr, "each option once");
  rows_.push_back({std::move(name), group_, std::move(value_name), std::move(help),
                   std::move(allowed), std::move(set), std::move(text)});
  return rows_.back();
}

Option& Options::number(std::string name, double& field, double low, double high,
                        std::string help) {
  return add(
      std::move(name), "X", std::move(help),
      "allowed are numbers from " + number_text(low) + " to " + number_text(high),
      [&field, low, high](std::string_view text) {
        double value = 0;
        if (!read_number(text, value) || !(value >= low && value <= high)) return false;
        field = value;
        return true;
      },
      [&field] { return number_text(field); });
}

Option& Options::path(std::string name, std::string& field, std::string value_name,
                      std::string help) {
  return add(
      std::move(name), std::move(value_name), std::move(help), "allowed is a path",
      [&field](std::string_view text) {
        const auto is_control = [](unsigned char c) { return c < 32 || c == 127; };
        if (text.empty() || std::ranges::any_of(text, is_control)) return false;
        field = text;
        return true;
      },
      [&field] { return field; });
}

Option& Options::flag(std::string name, bool& field, std::string help) {
  return add(
      std::move(name), "", std::move(help), "allowed are true, false",
      [&field](std::string_view text) {
        if (text != "true" && text != "false") return false;
        field = text == "true";
        return true;
      },
      [&field] { return std::string(field ? "true" : "false"); });
}

Option* Options::find(std::string_view name) {
  for (Option& row : rows_)
    if (row.name == name) return &row;
  return nullptr;
}

OptionTexts Options::texts() const {
  OptionTexts texts;
  for (const Option& row : rows_) texts.emplace(row.name, row.text());
  return texts;
}

void Options::read(const OptionTexts& texts) {
  for (Option& row : rows_)
    if (const auto found = texts.find(row.name); found != texts.end() && !found->second.empty())
      if (!row.set(found->second)) throw OptionError(row.name, found->second, row.allowed);
}

Option& add_span(Options& to, std::string name, GenerationSpan& field, std::string help) {
  Option& row = to.add(
      std::move(name), "N|P%", std::move(help),
      "allowed are numbers from 0.001 to 1e12, or percentages of the generations such as 42%",
      [&field](std::string_view text) {
        GenerationSpan span;
        span.is_percent = text.ends_with('%');
        if (span.is_percent) text.remove_suffix(1);
        if (!read_number(text, span.value) || !(span.value >= 0.001 && span.value <= 1e12))
          return false;
        field = span;
        return true;
      },
      [&field] { return number_text(field.value) + (field.is_percent ? "%" : ""); });
  row.pin = [&field](uint64_t planned) {
    if (field.is_percent) field = {std::clamp(field.generations(planned), 0.001, 1e12), false};
  };
  return row;
}

}  // namespace eggroll
