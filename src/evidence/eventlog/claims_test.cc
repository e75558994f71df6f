#include "evidence/eventlog/claims.h"

#include "base/cursor.h"
#include "evidence/eventlog/device_path.h"
#include "evidence/eventlog/test_support.h"

namespace cairn::eventlog {
namespace {

Result<Json> details(std::uint32_t event_type, std::string_view data) {
  return event_details(Event{.index = 1, .type = event_type, .digests = {}, .data = as_bytes(data), .offset = 0});
}

TEST(Claims, SharedLogsGiveTheExpectedClaims) {
  NEEDS_SHARED_DATA();
  int compared = 0;
  for (const std::string name : {"CCEL_AAEL_alibabacloud", "CCEL_data", "CCEL_data_csv", "CCEL_data_grub",
                                 "CCEL_data_grub_gke", "CCEL_data_ovmf"}) {
    const Bytes bytes = shared_bytes("trustee/eventlog/" + name);
    const auto log = parse_ccel(bytes).value();
    for (const auto& [folder, profile] :
         {std::pair{"upstream", ClaimProfile::upstream}, {"openanolis", ClaimProfile::openanolis}}) {
      const auto expected = shared_json("trustee/eventlog/expected-" + std::string(folder) + "/" + name + "_out.json");
      const auto claims = uefi_event_logs(log, profile);
      ASSERT_TRUE(claims) << name << ": " << claims.error().text();
      ASSERT_EQ(claims->size(), expected["uefi_event_logs"].size()) << name;
      for (std::size_t i = 0; i < claims->size(); ++i)
        EXPECT_EQ((*claims)[i], expected["uefi_event_logs"][i]) << name << " " << folder << " event " << i;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 12);
}

TEST(Claims, SharedTokensGiveTheSameDetails) {
  NEEDS_SHARED_DATA();
  int events = 0;
  for (const std::string name : {"simple", "ear", "ear_with_additional_device"}) {
    const std::string jwt = read_text(shared("trustee/token/" + name + ".jwt")).value();
    const auto first = jwt.find('.'), second = jwt.find('.', first + 1);
    const auto body = from_base64url(jwt.substr(first + 1, second - first - 1)).value();
    const auto token = parse_json(as_text(body)).value();
    const std::function<void(const Json&)> walk = [&](const Json& node) {
      if (node.is_string() && node.get_ref<const std::string&>().contains("uefi_event_logs")) {
        if (const auto inner = parse_json(node.get<std::string>())) walk(*inner);
      }
      if (!node.is_structured()) return;
      if (node.is_object() && node.contains("type_name") && node.contains("event")) {
        const Bytes data = from_base64(node["event"].get<std::string>()).value();
        std::uint32_t event_type = 0;
        for (const std::uint32_t base : {0U, 0x8000'0000U})
          for (std::uint32_t t = base; t < base + 0x100; ++t)
            if (type_name(t) == node["type_name"].get<std::string>()) event_type = t;
        const auto got = event_details(Event{.index = 1, .type = event_type, .digests = {}, .data = data, .offset = 0});
        ASSERT_TRUE(got) << got.error().text();
        EXPECT_EQ(*got, node["details"]);
        ++events;
        return;
      }
      for (const auto& child : node) walk(child);
    };
    walk(token);
  }
  EXPECT_GE(events, 3 * 85);
}

TEST(Claims, DetailsByType) {
  EXPECT_EQ(details(type::separator, "x").value(), Json::object());
  EXPECT_EQ(details(type::efi_action, "go").value()["string"], "go");
  EXPECT_FALSE(details(type::efi_action, "\xff"));
  EXPECT_EQ(details(type::efi_handoff_tables2,
                    "\x04"
                    "abcrest")
                .value()["string"],
            "abc");
  EXPECT_FALSE(details(type::efi_handoff_tables2,
                       "\x09"
                       "abc"));
  EXPECT_FALSE(details(type::efi_handoff_tables2, std::string_view("\0", 1)));
  EXPECT_FALSE(details(type::efi_handoff_tables2, ""));
  EXPECT_EQ(details(type::platform_config_flags,
                    "a\x10"
                    "b\x01"
                    "c\xc2\x85"
                    "d\xc2\xa0")
                .value()["string"],
            "a bcd\xc2\xa0");
  EXPECT_EQ(details(type::platform_config_flags, "\xff").value()["string"], "");
  EXPECT_EQ(details(type::ipl, std::string_view("ab\0\xff", 4)).value()["string"], "ab");
  EXPECT_EQ(details(type::ipl, "\xff\xfe").value()["string"], "fffe");
  EXPECT_EQ(details(type::ipl, std::string_view("\x2e\0a\0\0\0", 6)).value()["string"], "a");
  EXPECT_FALSE(details(type::ipl, std::string_view("\x2e\0", 2)));
  EXPECT_FALSE(details(type::ipl, std::string_view("\x2e\0a\0\0", 5)));
  EXPECT_FALSE(details(type::ipl, "a"));
}

TEST(Claims, AaelDetailsParseJsonContent) {
  const auto of = [](const AaelEvent& e) {
    return details(type::event_tag, as_text(tagged_event(e))).value()["data"]["content"];
  };
  EXPECT_EQ(of({"d", "o", "{\"a\":1}"}), Json({{"a", 1}}));
  EXPECT_EQ(of({"d", "o", "123"}), 123);
  EXPECT_EQ(of({"d", "o", "sha384:12"}), "sha384:12");
  EXPECT_EQ(of({"d", "o", "{\"a\":1,\"a\":2}"}), "{\"a\":1,\"a\":2}");  // ambiguous JSON stays text
  EXPECT_FALSE(details(type::event_tag, "LEA"));
}

TEST(Claims, HostileVariableAndImageLengths) {
  const auto variable = [](std::uint64_t name, std::uint64_t data) {
    Writer w;
    w.zeros(16).u64le(name).u64le(data).text("a");
    const Bytes bytes = std::move(w.u8(0)).take();
    return details(type::efi_variable_boot, as_text(bytes));
  };
  EXPECT_TRUE(variable(1, 0));
  for (const std::uint64_t huge : {std::uint64_t{2}, UINT64_MAX, UINT64_MAX / 2 + 2, std::uint64_t{1} << 63}) {
    EXPECT_FALSE(variable(huge, 0)) << huge;
    EXPECT_FALSE(variable(1, huge)) << huge;
  }
  const auto image = [](std::uint64_t length, std::string_view path) {
    const Bytes bytes = std::move(Writer().zeros(24).u64le(length).text(path)).take();
    return details(type::efi_boot_services_application, as_text(bytes));
  };
  EXPECT_EQ(image(0, "").value(), Json::object());
  EXPECT_EQ(image(4, std::string_view("\x7f\xff\x04\0", 4)).value(), Json::object());
  for (const std::uint64_t bad : {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{5}, UINT64_MAX})
    EXPECT_FALSE(image(bad, "abcd"));
  EXPECT_FALSE(image(8, std::string_view("\x01\x01\x03\0\x7f\xff\x04\0", 8)));  // a node shorter than its header
}

TEST(Claims, DevicePathNodes) {
  const auto text = [](std::uint8_t type, std::uint8_t subtype, const Bytes& body) {
    Writer w;
    w.u8(type).u8(subtype).u16le(static_cast<std::uint16_t>(4 + body.size())).bytes(body);
    return device_path_texts(w.view()).value().at(0);
  };
  const auto bytes = [](std::string_view text_hex) { return from_hex(text_hex).value(); };
  EXPECT_EQ(text(1, 1, bytes("0002")), "Pci(0,2)");
  EXPECT_EQ(text(1, 1, bytes("00")), "Path(1,1,00)");
  EXPECT_EQ(text(2, 1, bytes("d041030a00000000")), "ACPI(PNP0A03,0)");
  EXPECT_EQ(text(3, 5, bytes("0102")), "USB(1,2)");
  EXPECT_EQ(text(3, 11, joined({bytes("525400123456"), Bytes(26), Bytes{1}})), "Mac(525400123456,0x01)");
  EXPECT_EQ(text(3, 12, bytes("0a0000020a0000010000000006000100000000ffffff00")),
            "IPv4(10.0.0.1,TCP,Static,10.0.0.2,0.0.0.0,255.255.255.0)");
  EXPECT_EQ(text(4, 4, bytes("5c00610000000000").size() ? bytes("5c0061000000") : Bytes{}), "File(\\a)");
  EXPECT_EQ(text(5, 1, bytes("0100020041420043")), "BBS(1,AB,2)");
  EXPECT_EQ(text(3, 2, bytes("00000000")), "Path(3,2,00000000)");
}

TEST(Claims, UnknownEventTypesAreRefused) {
  const Bytes bytes = joined({spec_id_record(1, {Algorithm::sha384}), whole_event(1, 0x7777, "x")});
  EXPECT_EQ(uefi_event_logs(parse_ccel(bytes).value()).error().code, ErrorCode::unsupported);
}

TEST(Claims, ProfileA) {
  const Bytes bytes = joined({spec_id_record(1, {Algorithm::sha384}), whole_event(3, type::ipl, "grub_linuxefi Kernel"),
                              whole_event(3, type::ipl, std::string_view("grub_kernel_cmdline ro\0", 23)),
                              whole_event(3, type::ipl, "/boot/initramfs-6.img")});
  const auto log = parse_ccel(bytes).value();
  const Json claims = ccel_claims(log);
  EXPECT_EQ(claims["measurement.kernel.SHA384"], hex(log.events[0].digests[0].bytes));
  EXPECT_EQ(claims["measurement.kernel_cmdline.SHA384"], hex(log.events[1].digests[0].bytes));
  EXPECT_EQ(claims["kernel_cmdline"], "grub_kernel_cmdline ro");
  EXPECT_EQ(claims["measurement.initrd.SHA384"], hex(log.events[2].digests[0].bytes));
  const std::vector<AaelEvent> events{{"d", "o", "1"}, {"d", "o", "2"}};
  EXPECT_EQ(aael_claims(events), Json({{"aael", {{"d/o", {"1", "2"}}}}, {"AA.eventlog.d.o", "2"}}));
}

TEST(Claims, ProfileAFindsShimAndGrub) {
  NEEDS_SHARED_DATA();
  const Bytes bytes = shared_bytes("trustee/eventlog/CCEL_AAEL_alibabacloud");
  const Json claims = ccel_claims(parse_ccel(bytes).value());
  for (const std::string what : {"shim", "grub", "kernel", "initrd", "kernel_cmdline"})
    EXPECT_TRUE(claims.contains("measurement." + what + ".SHA384")) << what;
}

}  // namespace
}  // namespace cairn::eventlog
