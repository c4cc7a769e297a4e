// The kernel's side of a policy, by way of libnftables: put a ruleset in place whole or not at all, and read back what
// is there. Needs CAP_NET_ADMIN in the network namespace that it is opened in. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "netfilter/drop_counts.h"
#include "netfilter/ruleset.h"

struct nft_ctx;

namespace stele::netfilter {

class Nft {
 public:
  // kDenied without the privilege; kUnavailable when this kernel has no nf_tables.
  [[nodiscard]] static Result<Nft> Open();

  // `text` is what CompilePolicy() made. Turns table inet stele into it in one transaction (transaction.h), reads it
  // back and compares. kUnavailable: the kernel refused; the old rules are in place, `context` has its reason.
  // kCorrupt: it took something else than it was given.
  [[nodiscard]] Result<void> Apply(std::string_view text);

  // The table as nft lists it. kNotFound: there is none.
  [[nodiscard]] Result<std::string> List();

  // What differs from `text` now; empty: nothing. A missing table is a difference.
  [[nodiscard]] Result<std::vector<std::string>> DifferencesFrom(std::string_view text);

  // The other tables, as "ip filter": rules that Stele did not make.
  [[nodiscard]] Result<std::vector<std::string>> ForeignTables();

  // The counters of the table as they are now; the elements of its sets are not read.
  [[nodiscard]] Result<DropCounts> CountDrops();

  [[nodiscard]] Result<void> Remove();  // the table; none is no error

 private:
  struct Free {
    void operator()(nft_ctx* context) const;
  };
  explicit Nft(std::unique_ptr<nft_ctx, Free> context) : context_(std::move(context)) {}
  [[nodiscard]] Result<std::string> Run(const std::string& commands);

  std::unique_ptr<nft_ctx, Free> context_;
};

}  // namespace stele::netfilter
