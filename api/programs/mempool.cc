// mempool: a cluster from the command line.
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>

#include <CLI/CLI.hpp>

#include <mempool/mempool.h>

#include "api/programs/command_line.h"
#include "api/programs/commands.h"
#include "api/programs/doctor.h"
#include "api/programs/settings.h"
#include "transport/log.h"
#include "transport/provider.h"

using namespace mempool;

namespace {

/// What the command line asks for, filled in by the subcommand that was chosen.
struct Chosen {
  std::function<Status(Pool&)> run;
  bool moves_bytes = true;  // of blobs, or tells how they would be moved
};

void add_set_options(CLI::App& command, std::string& on, SetOptions& options) {
  command.add_option("--on", on, "the node to store on (HOST:PORT or id)")->type_name("NODE");
  command.add_option("--type", options.type_name, "free text kept with the blob")
      ->type_name("TEXT");
  command.add_flag("--drop-on-evict", options.drop_on_evict, "discard instead of spilling");
  command.add_flag("--retain", options.retain, "keep the spill file when the blob is deleted");
}

/// A command on one reference, which its owner carries out.
void add_ref_command(CLI::App& app, Chosen& chosen, const char* name, const char* what,
                     Status (*run)(Pool&, const std::string&)) {
  auto* command = app.add_subcommand(name, what);
  auto ref = std::make_shared<std::string>();
  command->add_option("REF", *ref, "a DRef")->required();
  command->callback([&chosen, run, ref] {
    chosen = {[=](Pool& p) { return run(p, *ref); }, /*moves_bytes=*/false};
  });
}

void add_data_commands(CLI::App& app, Chosen& chosen) {
  auto* set = app.add_subcommand("set", "store a file and print its DRef");
  auto set_command = std::make_shared<programs::SetCommand>();
  set->add_option("FILE", set_command->file, "a file, or - for standard input")->required();
  add_set_options(*set, set_command->on, set_command->options);
  set->callback([&chosen, set_command] {
    chosen.run = [=](Pool& p) { return programs::set(p, *set_command); };
  });

  auto* get = app.add_subcommand("get", "read a blob");
  auto ref = std::make_shared<std::string>();
  auto output = std::make_shared<std::string>("-");
  get->add_option("REF", *ref, "a DRef or a FileRef")->required();
  get->add_option("-o,--output", *output, "a file, or - for standard output")->type_name("FILE");
  get->callback([&chosen, ref, output] {
    chosen.run = [=](Pool& p) { return programs::get(p, *ref, *output); };
  });

  auto* remove = app.add_subcommand("delete", "delete blobs and their spill files");
  auto refs = std::make_shared<std::vector<std::string>>();
  remove->add_option("REF", *refs, "DRefs")->required();
  remove->callback([&chosen, refs] {
    chosen = {[=](Pool& p) { return programs::remove(p, *refs); }, /*moves_bytes=*/false};
  });
}

void add_disk_commands(CLI::App& app, Chosen& chosen) {
  add_ref_command(app, chosen, "move-to-disk", "write to disk, release memory, print the FileRef",
                  programs::move_to_disk);
  add_ref_command(app, chosen, "copy-to-disk", "write to disk, keep memory, print the FileRef",
                  programs::copy_to_disk);

  auto* save = app.add_subcommand("save-to-disk", "write an independent copy, print its FileRef");
  auto ref = std::make_shared<std::string>();
  auto path = std::make_shared<std::string>();
  auto force = std::make_shared<bool>(false);
  save->add_option("REF", *ref, "a DRef")->required();
  save->add_option("PATH", *path, "the file to write, on this machine")->required();
  save->add_flag("--force", *force, "overwrite");
  save->callback([&chosen, ref, path, force] {
    chosen.run = [=](Pool& p) { return programs::save_to_disk(p, *ref, *path, *force); };
  });

  auto* adopt = app.add_subcommand("adopt", "make a blob of a blob file, print its DRef");
  auto file = std::make_shared<std::string>();
  auto on = std::make_shared<std::string>();
  adopt->add_option("FILEREF", *file, "a FileRef whose path the node sees")->required();
  adopt->add_option("--on", *on, "the node that adopts (HOST:PORT or id)")->type_name("NODE");
  adopt->callback([&chosen, file, on] {
    chosen = {[=](Pool& p) { return programs::adopt(p, *file, *on); }, /*moves_bytes=*/false};
  });

  add_ref_command(app, chosen, "prefetch", "load a spilled blob into memory", programs::prefetch);
}

void add_report_commands(CLI::App& app, Chosen& chosen) {
  auto json = std::make_shared<bool>(false);
  auto argument = std::make_shared<std::string>();

  auto* inspect = app.add_subcommand("inspect", "where a blob is and how it is reached");
  inspect->add_option("REF", *argument, "a DRef")->required();
  inspect->add_flag("--json", *json, "as JSON");
  inspect->callback([&chosen, argument, json] {
    chosen.run = [=](Pool& p) { return programs::inspect(p, *argument, *json); };
  });

  auto* nodes = app.add_subcommand("nodes", "the nodes of the cluster");
  nodes->add_flag("--json", *json, "as JSON");
  nodes->callback([&chosen, json] {
    chosen = {[=](Pool& p) { return programs::nodes(p, *json); }, /*moves_bytes=*/false};
  });

  auto* stats = app.add_subcommand("stats", "counters of a node");
  stats->add_option("--on", *argument, "the node (HOST:PORT or id)")->type_name("NODE");
  stats->add_flag("--json", *json, "as JSON");
  stats->callback([&chosen, argument, json] {
    chosen = {[=](Pool& p) { return programs::stats(p, *argument, *json); }, /*moves_bytes=*/false};
  });
}

void add_bulk_commands(CLI::App& app, Chosen& chosen) {
  auto* load =
      app.add_subcommand("load", "store every regular file under a directory, print a manifest");
  auto load_command = std::make_shared<programs::LoadCommand>();
  load->add_option("DIR", load_command->directory, "the directory")->required();
  load->add_flag("-q,--quiet", load_command->quiet, "no progress bar");
  add_set_options(*load, load_command->on, load_command->options);
  load->callback([&chosen, load_command] {
    chosen.run = [=](Pool& p) { return programs::load(p, *load_command); };
  });

  auto* verify =
      app.add_subcommand("verify", "read all blobs of a manifest and compare them with the files");
  auto verify_command = std::make_shared<programs::VerifyCommand>();
  verify->add_option("MANIFEST", verify_command->manifest, "what load printed, or -")->required();
  verify->add_flag("--json", verify_command->json, "as JSON");
  verify->add_flag("-q,--quiet", verify_command->quiet, "no progress bar");
  verify->callback([&chosen, verify_command] {
    chosen.run = [=](Pool& p) { return programs::verify(p, *verify_command); };
  });
}

/// To look for providers takes a third of the time of a short command: only those that move bytes
/// do, and those that are told to.
ClusterOptions needed(ClusterOptions asked, const Chosen& chosen) {
  if (!chosen.moves_bytes && asked.providers.empty() && !asked.require_rdma)
    asked.providers = {std::string(transport::kPushName)};
  return asked;
}

/// Names the word that is no subcommand: that one is required says nothing to who gave one.
std::string explain(const CLI::App* app, const CLI::Error& error) {
  const auto unknown = app->remaining();
  if (!app->get_subcommands().empty() || unknown.empty() || error.get_name() != "RequiredError")
    return CLI::FailureMessage::simple(app, error);
  return CLI::FailureMessage::simple(
      app, CLI::Error("ExtrasError", unknown.front() + " is no subcommand and no flag"));
}

/// The settings of a node, so that the machine is judged by what the node would ask of it.
CLI::App* add_doctor(CLI::App& app, programs::Configuration& configuration,
                     programs::DoctorCommand& command) {
  auto* doctor = app.add_subcommand(
      "doctor", "whether a node would do well on this machine, and how a PEER is reached");
  doctor->add_option("PEER", command.peer,
                     "a node, HOST:PORT; 64 bytes are stored on it, read and deleted");
  doctor->add_flag("--json", command.json, "as JSON");
  configuration.offer(*doctor,
                      {"listen", "max-memsize", "max-disksize", "spill-dir", "read-window-ms"});
  doctor->footer("Exit status: 0 no problem (there may be warnings), 1 a problem, 2 wrong usage.");
  return doctor;
}

}  // namespace

int main(int argc, char** argv) {
  // A file-size limit is an error of the write, and to the doctor a finding.
  std::signal(SIGXFSZ, SIG_IGN);
  programs::Settings settings{.log_level = spdlog::level::warn};
  programs::Configuration configuration;
  settings.declare(configuration);
  Chosen chosen;
  CLI::App app{"Stores blobs in a MemPool cluster and reads them from anywhere."};
  app.name("mempool");
  app.require_subcommand(1);
  app.failure_message(explain);
  app.fallthrough();
  programs::offer_version(app);
  configuration.offer(app, {"node"});
  configuration.offer(app, programs::kClusterSettings);
  configuration.offer_file(app);
  add_data_commands(app, chosen);
  add_disk_commands(app, chosen);
  add_report_commands(app, chosen);
  add_bulk_commands(app, chosen);
  programs::DoctorCommand examination;
  auto* doctor = add_doctor(app, configuration, examination);
  auto* print = app.add_subcommand(
      "print-config", "print the settings in use as a file for --config, each with its origin");
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  if (const auto status = programs::parse(app, configuration, argc, argv)) return *status;
  if (app.got_subcommand(print)) return programs::print_configuration("mempool", configuration);

  if (app.got_subcommand(doctor)) {
    // What the doctor finds is in its report.
    transport::log().set_level(spdlog::level::off);
    return programs::doctor(settings.pool, examination);
  }
  if (settings.node.empty())
    return programs::misused("mempool", "which node? say --node HOST:PORT, or set MEMPOOL_NODE");
  transport::log().set_level(settings.log_level);
  auto pool = Pool::connect(settings.node, needed(settings.pool, chosen));
  if (!pool) return programs::not_begun("mempool", configuration, pool.error());
  const auto done = chosen.run(*pool);
  return done ? 0 : programs::failed("mempool", done.error());
}
