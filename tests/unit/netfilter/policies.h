// Policies for tests: a plant with three zones, one with every kind of zone, and as many others as there are seeds.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "netfilter/policy.h"

namespace stele::netfilter {

[[nodiscard]] IpAddress AddressOf(const std::string& text);
[[nodiscard]] IpPrefix PrefixOf(const std::string& text);

[[nodiscard]] Policy PlantPolicy();      // docs/segmentation.md: machines, office, operators
[[nodiscard]] Policy EveryKindPolicy();  // both families, shared interfaces, flows, router advertisements, limits
[[nodiscard]] Policy SmallestPolicy();   // one zone, one address, one port
[[nodiscard]] Policy RandomPolicy(std::mt19937_64& random);  // without errors

}  // namespace stele::netfilter
