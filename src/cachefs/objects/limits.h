// Bounds of what is exchanged with an object store.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cairn::cachefs {

using namespace std::chrono_literals;

inline constexpr std::size_t kStoreKeyMax = 1024;               // bytes of an object's key, of the stores
inline constexpr std::size_t kStoreAnswerMax = 8U << 20;        // one XML answer
inline constexpr std::size_t kStoreErrorMax = 64U << 10;        // the body of a refusal
inline constexpr std::size_t kStoreXmlDepth = 8;                // nested elements
inline constexpr std::size_t kStoreXmlElements = 64U << 10;     // of one answer: a page lists 1000 objects
inline constexpr std::size_t kStoreSmallMax = 4096;             // objects fetched whole while the tree is read
inline constexpr std::size_t kStorePieceBytes = 4U << 20;       // ciphertext fetched and kept at a time
inline constexpr std::size_t kStoreDirectMax = 64U << 10;       // smaller reads out of order are requests of their own
inline constexpr std::uint64_t kStoreWholeMax = 1U << 20;       // smaller objects are always fetched whole
inline constexpr std::uint64_t kStoreMemoryMibDefault = 96;     // pieces in memory
inline constexpr std::uint64_t kStoreMemoryMibMin = 16;         // four pieces
inline constexpr std::uint64_t kStoreMemoryMibMax = 1U << 20;   //
inline constexpr std::uint64_t kStoreCacheMibDefault = 10'240;  // pieces on disk
inline constexpr std::uint64_t kStoreCacheMibMax = 1U << 24;    //
inline constexpr unsigned kStoreParallelDefault = 16;           // requests under way
inline constexpr unsigned kStoreParallelMax = 128;              //
inline constexpr unsigned kStoreTimeoutDefault = 60;            // seconds until a read fails, its retries included
inline constexpr unsigned kStoreTimeoutMax = 3600;              //
inline constexpr auto kStoreTryTimeout = 15'000ms;              // one request
inline constexpr unsigned kStoreTries = 6;                      // of one request
inline constexpr auto kStoreHedgeMin = 250ms;                   // a second request goes out no sooner
inline constexpr auto kStoreHedgeMax = 5000ms;                  // and no later
inline constexpr auto kStoreStaleAfter = 2000ms;                // a piece fetched ahead that nobody reads makes room
inline constexpr std::uint64_t kStorePartBytes = 16U << 20;     // of an upload; more where a file needs more parts
inline constexpr std::uint64_t kStorePartsMax = 10'000;         // of the stores
inline constexpr unsigned kStoreTransfersDefault = 8;           // parts under way, each with its memory
inline constexpr std::size_t kStoreIndexMax = 64U << 20;        // the list of objects and their digests

}  // namespace cairn::cachefs
