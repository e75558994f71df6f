#include "device/simulator/boot_log.h"

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/eventlog/eventlog.h"

namespace cairn::device::simulator {
namespace {

namespace type = eventlog::type;
constexpr std::size_t kLogArea = 64U << 10;
constexpr std::uint32_t kFirmware = 1, kLoader = 2, kSystem = 3;  // MR indexes of RTMR0, RTMR1, RTMR2
constexpr std::array<std::uint8_t, 16> kGlobalVariable = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11,
                                                          0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c};
constexpr std::array<std::uint8_t, 16> kImageSecurity = {0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
                                                         0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f};

Digest<48> of(std::string_view text) { return crypto::sha384(as_bytes(text)); }

// Collects records in boot order.
class BootLog {
 public:
  BootLog() : bytes_(eventlog::spec_id_record(1, {eventlog::Algorithm::sha384})) {}

  void event(std::uint32_t index, std::uint32_t event_type, const Digest<48>& digest, ByteView data) {
    append(bytes_, eventlog::event_record(index, event_type, digest, data));
  }
  void whole(std::uint32_t index, std::uint32_t event_type, ByteView data) {
    event(index, event_type, crypto::sha384(data), data);
  }
  void action(std::string_view text) { whole(kLoader, type::efi_action, as_bytes(text)); }
  void separator(std::uint32_t index) { whole(index, type::separator, Bytes(4)); }

  // A name that counts itself in its first byte, then address and length.
  void blob(std::uint32_t event_type, std::string_view name, std::string_view content) {
    Writer data;
    data.u8(static_cast<std::uint8_t>(name.size() + 1)).text(name).u64le(0x800000).u64le(content.size());
    event(kFirmware, event_type, of(content), data.view());
  }
  void variable(std::uint32_t event_type, ByteView vendor, std::string_view name, ByteView value) {
    Writer data;
    data.bytes(vendor).u64le(name.size()).u64le(value.size());
    for (const char c : name) data.u8(static_cast<std::uint8_t>(c)).u8(0);
    data.bytes(value);
    event(kFirmware, event_type,
          event_type == type::efi_variable_boot ? crypto::sha384(value) : crypto::sha384(data.view()), data.view());
  }
  // A loaded image: address, length, link address, device path File(path).
  void image(std::string_view path, std::string_view content) {
    Writer node;
    node.u8(4).u8(4).u16le(static_cast<std::uint16_t>(4 + 2 * (path.size() + 1)));
    for (const char c : path) node.u8(static_cast<std::uint8_t>(c)).u8(0);
    node.u16le(0).u8(0x7F).u8(0xFF).u16le(4);
    Writer data;
    data.u64le(0x7e000000).u64le(content.size()).u64le(0).u64le(node.size()).bytes(node.view());
    event(kLoader, type::efi_boot_services_application, of(content), data.view());
  }
  // GRUB hashes a command with its NUL, a command line without, and files by content.
  void grub_command(std::string_view command) {
    const std::string text = "grub_cmd " + std::string(command) + '\0';
    event(kSystem, type::ipl, of(std::string(command) + '\0'), as_bytes(text));
  }
  void grub_command_line(std::string_view line) {
    const std::string text = "grub_kernel_cmdline " + std::string(line) + '\0';
    event(kSystem, type::ipl, of(line), as_bytes(text));
  }
  void grub_file(std::string_view what, std::string_view content) {
    const std::string text = "grub_linuxefi " + std::string(what) + '\0';
    event(kSystem, type::ipl, of(content), as_bytes(text));
  }

  Bytes take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

void firmware(BootLog& log) {
  log.blob(type::efi_handoff_tables2, "TdxTable", "simulated TD HOB");
  log.blob(type::efi_platform_firmware_blob2, "Fv(XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX)", "simulated CFV");
  log.variable(type::efi_variable_driver_config, kGlobalVariable, "SecureBoot", Bytes{0});
  for (const std::string_view name : {"PK", "KEK"})
    log.variable(type::efi_variable_driver_config, kGlobalVariable, name, {});
  for (const std::string_view name : {"db", "dbx"})
    log.variable(type::efi_variable_driver_config, kImageSecurity, name, {});
  log.separator(kFirmware);
  for (const std::string_view table : {"etc/table-loader", "etc/acpi/rsdp", "etc/acpi/tables"})
    log.event(kFirmware, type::platform_config_flags, of("simulated " + std::string(table)),
              as_bytes(std::string(table) + '\0'));
  log.variable(type::efi_variable_boot, kGlobalVariable, "BootOrder", Bytes{0, 0});
}

void loader(BootLog& log) {
  log.action("Calling EFI Application from Boot Option");
  log.separator(kLoader);
  log.image("\\EFI\\BOOT\\shimx64.efi", "simulated shim");
  log.image("\\EFI\\BOOT\\grubx64.efi", "simulated grub");
}

void system(BootLog& log, const BootOptions& options) {
  log.grub_command("search --no-floppy --set=root --label simulated");
  log.grub_command("linux /boot/vmlinuz-simulated " + options.kernel_cmdline);
  log.grub_file("Kernel", options.kernel);
  log.grub_command_line("/boot/vmlinuz-simulated " + options.kernel_cmdline);
  log.grub_command("initrd /boot/initramfs-simulated.img");
  log.grub_file("Initrd", options.initrd);
  log.action("Exit Boot Services Invocation");
  log.action("Exit Boot Services Returned with Success");
}

}  // namespace

Result<Boot> boot(const BootOptions& options) {
  if (options.kernel_cmdline.size() > 4096 || !is_utf8(options.kernel_cmdline))
    return fail(ErrorCode::invalid_argument, "kernel_cmdline", "at most 4096 bytes of UTF-8");
  BootLog log;
  firmware(log);
  loader(log);
  system(log, options);
  Boot out;
  out.mr_td = of(options.firmware);
  out.ccel = std::move(log).take();
  out.ccel.resize(kLogArea, 0xFF);
  CAIRN_TRY(const auto parsed, eventlog::parse_ccel(out.ccel));
  CAIRN_TRY(out.rtmr, eventlog::replay_rtmrs(parsed));
  return out;
}

}  // namespace cairn::device::simulator
