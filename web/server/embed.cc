// Build tool: turns a folder of files into one C++ source that defines stele::web::AllAssets(), or one file into one
// that defines stele::query::VerifyPage().
//
//   embed OUTPUT.cc FOLDER FALLBACK.html
//   embed --page OUTPUT.cc [FILE]          without FILE (the viewer was not built): an empty page
//
// The output depends on nothing but the files' names and bytes (sorted, no times), so builds stay reproducible.
// Source maps are left out. A folder without index.html gives one page: the fallback.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "appliance/base/hash.h"

namespace {

namespace fs = std::filesystem;

std::string_view ContentType(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".json", "application/json"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".ico", "image/x-icon"},
      {".woff2", "font/woff2"},
      {".txt", "text/plain; charset=utf-8"},
      {".webmanifest", "application/manifest+json"}};
  for (const auto& type : kTypes) {
    if (path.ends_with(type.first)) return type.second;
  }
  return "application/octet-stream";
}

// "main-4XQZ7A2B.js": eight or more of [A-Z0-9] (esbuild) or of lower-case hexadecimal between '-' or '.' and the
// extension, with a digit among them. A wrong no is a revalidation; a wrong yes would be a stale file.
bool NameHoldsHash(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::size_t cut = name.find_last_of("-.", dot - 1);
  if (cut == std::string_view::npos) return false;
  const std::string_view part = name.substr(cut + 1, dot - cut - 1);
  if (part.size() < 8 || part.find_first_of("0123456789") == std::string_view::npos) return false;
  return part.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == std::string_view::npos ||
         part.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string ReadAll(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Octal escapes of three digits cannot swallow the next character; short pieces keep every compiler content.
std::string Literal(std::string_view bytes) {
  std::string out = "\n    \"";
  std::size_t column = 0;
  for (const char c : bytes) {
    const bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '?';
    out += plain ? std::string(1, c) : fmt::format("\\{:03o}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    if (++column % 80 == 0) out += "\"\n    \"";
  }
  return out + "\"";
}

std::map<std::string, std::string> Collect(const fs::path& folder) {
  std::map<std::string, std::string> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().extension() == ".map") continue;
    files.emplace("/" + fs::relative(entry.path(), folder).generic_string(), ReadAll(entry.path()));
  }
  return files;
}

std::string Generate(const std::map<std::string, std::string>& files) {
  std::string out =
      "// Written by web/server/embed.cc from the viewer's built files.\n"
      "#include \"web/server/assets.h\"\n\n#include <array>\n\nnamespace stele::web {\nnamespace {\n";
  std::string table;
  std::size_t number = 0;
  for (const auto& [path, bytes] : files) {
    out += fmt::format("\nconstexpr char kFile{}[] ={};\n", number, Literal(bytes));
    table += fmt::format("    Asset{{\"{}\", \"{}\", \"{}\", {{kFile{}, {}}}, {}, {}}},\n", path, ContentType(path),
                         stele::HexOf(stele::Sha256Of(stele::AsBytes(bytes))), number, bytes.size(),
                         NameHoldsHash(path) ? "true" : "false", path.ends_with(".html") && path != "/index.html" ? "true" : "false");
    ++number;
  }
  out +=
      fmt::format("\nconstexpr std::array<Asset, {}> kAssets = {{{{\n{}}}}};\n\n}}  // namespace\n\n", number, table);
  return out + "std::span<const Asset> AllAssets() { return kAssets; }\n\n}  // namespace stele::web\n";
}

std::string GeneratePage(std::string_view page) {
  return fmt::format(
      "// Written by web/server/embed.cc from the viewer's verify.html.\n"
      "#include \"appliance/query/verify_page.h\"\n\nnamespace stele::query {{\nnamespace {{\n"
      "\nconstexpr char kPage[] ={};\n\n}}  // namespace\n\n"
      "std::string_view VerifyPage() {{ return {{kPage, {}}}; }}\n\n}}  // namespace stele::query\n",
      Literal(page), page.size());
}

int Write(const char* path, std::string_view source) {
  std::ofstream output(path, std::ios::binary | std::ios::trunc);
  output << source;
  output.flush();
  return output ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  const bool page = argc >= 3 && std::string_view(argv[1]) == "--page";
  if (argc != 4 && !(page && argc == 3)) {
    std::fprintf(stderr, "usage: embed OUTPUT.cc FOLDER FALLBACK.html | embed --page OUTPUT.cc [FILE]\n");
    return 2;
  }
  try {
    if (page) return Write(argv[2], GeneratePage(argc == 4 ? ReadAll(argv[3]) : std::string{}));
    auto files = Collect(argv[2]);
    if (!files.contains("/index.html")) files = {{"/index.html", ReadAll(argv[3])}};
    return Write(argv[1], Generate(files));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "embed: %s\n", error.what());
    return 3;
  }
}
