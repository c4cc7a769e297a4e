// The viewer's files, compiled into the program: this process opens no file.
//
// The table is written at build time by embed.cc from web/viewer/dist, sorted by path; `/` is index.html. Where the
// viewer was not built, the only file is a page that says so.
#pragma once

#include <span>
#include <string_view>

namespace stele::web {

struct Asset {
  std::string_view path;  // "/index.html"
  std::string_view content_type;
  std::string_view sha256_hex;
  std::string_view bytes;
  bool immutable = false;   // the file's name holds a hash of its content: cache for ever
  bool attachment = false;  // to be saved, not opened here: any page but index.html
};

[[nodiscard]] std::span<const Asset> AllAssets();

// nullptr: no such file.
[[nodiscard]] const Asset* FindAsset(std::string_view path);

}  // namespace stele::web
