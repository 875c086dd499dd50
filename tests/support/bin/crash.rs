//! The proof of crash recovery as a program: `cargo run -p host-tests --bin crash -- enumerate`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use host_tests::crash::campaign::{self, Bounds};
use host_tests::crash::disk;
use host_tests::crash::enumeration::{self, BOTH, Choice, Tally};
use host_tests::crash::place::Program;
use host_tests::crash::refusal::{self, Refused};
use host_tests::crash::scenario::{self, Scenario};
use host_tests::crash::torn;
use host_tests::crash::{IS_SUPPORTED, Scope, UNSUPPORTED, Where};
use skillhost::clock::Stopwatch;

const USAGE: &str = "\
usage: crash list                    the scenarios
       crash count [OPTIONS]         the points of a run that is never killed
       crash enumerate [OPTIONS]     kills at every point, recovers, compares
       crash recovery [OPTIONS]      kills at every K-th point, then recovery at every point, recovers, compares
       crash campaign [OPTIONS]      kills at random
       crash torn [OPTIONS]          cuts what was written and not synced, at every K-th offset
       crash disk [OPTIONS]          has no room, or may not be written (superuser)
       crash errno [OPTIONS]         refuses every K-th call in workspace and run, with ten errors in turn
options: --program FILE      the `host` binary [default: beside this program]
         --scenario NAME     may be given several times [default: all]
         --durability HOW    full, buffered or both [default: both]
         --side SIDE         entered, returned or both: before or after a call [default: both]
         --points WHICH      of kills: made, or touched: also the calls that only look [default: made]
         --every K --first N every K-th point from the N-th on [default: 1, 1]
         --recovery-in N     recovery is killed as well in one of N cases [default: 4; 0: never]
         --jobs N            cases at a time [default: 2]
         --seed N            what random numbers are drawn from [default: 1]
         --kills N           of a campaign [default: 2000]
         --seconds N         of a campaign, at the most [default: 3600]
         --from N            the number of a campaign's first case [default: 0]";

struct Options {
    program: PathBuf,
    scenarios: Vec<Scenario>,
    durabilities: Vec<&'static str>,
    choice: Choice,
    bounds: Bounds,
}

fn main() -> ExitCode {
    if !IS_SUPPORTED {
        println!("{UNSUPPORTED}");
        return ExitCode::SUCCESS;
    }
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let options = match options(args) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match command.as_str() {
        "list" => {
            for scenario in &options.scenarios {
                println!("{:10} {}", scenario.name, scenario.about);
            }
            ExitCode::SUCCESS
        }
        "count" => count(&options),
        "enumerate" => enumerate(&options),
        "recovery" => {
            each(&options, |program, scenario| Some(enumeration::enumerate_recovery(program, scenario, options.choice)))
        }
        "campaign" => campaign(&options),
        "torn" => each(&options, |program, scenario| {
            (program.durability == "full")
                .then(|| torn::torn(program, scenario, options.choice.every, options.choice.jobs))
        }),
        "disk" => {
            let full = each(&options, disk::full);
            let read_only = each(&options, disk::read_only);
            if full == ExitCode::SUCCESS { read_only } else { full }
        }
        "errno" => errno(&options),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = Options {
        program: beside.with_file_name("host"),
        scenarios: Vec::new(),
        durabilities: vec!["full", "buffered"],
        choice: Choice {
            sides: BOTH,
            every: 1,
            first: 1,
            cases: None,
            recovery_in: 4,
            jobs: 2,
            seed: 1,
            scope: Scope::Made,
        },
        bounds: Bounds { kills: 2000, from: 0, seconds: 3600, jobs: 2, seed: 1 },
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        let number = || value.parse::<usize>().map_err(|error| format!("`{name}`: {error}"));
        match name.as_str() {
            "--program" => options.program = value.into(),
            "--scenario" => {
                options.scenarios.push(scenario::named(&value).ok_or_else(|| format!("no scenario `{value}`"))?);
            }
            "--durability" => {
                options.durabilities = match value.as_str() {
                    "full" => vec!["full"],
                    "buffered" => vec!["buffered"],
                    "both" => vec!["full", "buffered"],
                    _ => return Err(format!("no durability `{value}`")),
                }
            }
            "--side" => {
                options.choice.sides = match value.as_str() {
                    "entered" => &[Where::Entered],
                    "returned" => &[Where::Returned],
                    "both" => BOTH,
                    _ => return Err(format!("a call has no side `{value}`")),
                }
            }
            "--points" => {
                options.choice.scope = match value.as_str() {
                    "made" => Scope::Made,
                    "touched" => Scope::Touched,
                    _ => return Err(format!("no points `{value}`")),
                }
            }
            "--every" => options.choice.every = number()?.max(1),
            "--first" => options.choice.first = number()?,
            "--recovery-in" => options.choice.recovery_in = number()?,
            "--jobs" => options.choice.jobs = number()?,
            "--kills" => options.bounds.kills = number()?,
            "--seconds" => options.bounds.seconds = number()? as u64,
            "--from" => options.bounds.from = number()?,
            "--seed" => options.choice.seed = number()? as u64,
            _ => return Err(format!("no option `{name}`")),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = scenario::all();
    }
    if !options.program.is_file() {
        let path = options.program.display();
        return Err(format!(
            "there is no `{path}`: build it with `cargo build --workspace --bins`, or name it with --program"
        ));
    }
    (options.bounds.jobs, options.bounds.seed) = (options.choice.jobs, options.choice.seed);
    options.program = options.program.canonicalize().map_err(|error| error.to_string())?;
    Ok(options)
}

/// The programs to try, all with one cache.
fn programs(options: &Options, cache: &std::path::Path) -> Vec<Program> {
    let program =
        |durability: &&'static str| Program { path: options.program.clone(), cache: cache.to_owned(), durability };
    options.durabilities.iter().map(program).collect()
}

/// Compiled components are kept between calls, beside the build.
fn cache() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let target = program.ancestors().nth(2).expect("it is below target/");
    let mut cache = target.join("tmp/crash-cache");
    let is_ours = |cache: &std::path::Path| {
        let probe = cache.join("probe");
        std::fs::create_dir_all(cache).and_then(|()| std::fs::write(&probe, "")).is_ok()
            && std::fs::remove_file(probe).is_ok()
    };
    if !is_ours(&cache) {
        // The build is somebody else's: this is another user.
        cache = tempfile::tempdir().expect("a folder").keep();
    }
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o700)).expect("for the user alone");
    cache
}

fn count(options: &Options) -> ExitCode {
    let cache = cache();
    for program in programs(options, &cache) {
        for scenario in &options.scenarios {
            drop(enumeration::oracle(&program, scenario));
            let watch = Stopwatch::start();
            let (left, points) = enumeration::oracle(&program, scenario);
            println!("{} {} {:?}", scenario.name, program.durability, watch.elapsed());
            for (command, points) in points.iter().enumerate() {
                println!("  command {command}: {} points", points.len());
                for (at, point) in points.iter().enumerate() {
                    println!("    {} {point}", at + 1);
                }
            }
            println!("  {:?}", left.told);
        }
    }
    ExitCode::SUCCESS
}

fn enumerate(options: &Options) -> ExitCode {
    println!("seed {}", options.choice.seed);
    each(options, |program, scenario| Some(enumeration::enumerate(program, scenario, options.choice)))
}

fn errno(options: &Options) -> ExitCode {
    let cache = cache();
    let mut is_good = true;
    println!("| scenario | durability | points | errors | refused | how the runs ended | failures | seconds |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for program in programs(options, &cache) {
        // One command, and all or nothing at its end.
        let wanted =
            |scenario: &&Scenario| scenario.plan["on_failure"] == "rollback" && scenario.name.starts_with("large");
        for scenario in options.scenarios.iter().filter(wanted) {
            let watch = Stopwatch::start();
            let Refused { tally, stood } = refusal::refuse(&program, scenario, options.choice);
            let stood: Vec<String> = stood.iter().map(|(how, count)| format!("{how} {count}")).collect();
            let (name, durability, errors) = (scenario.name, program.durability, refusal::ERRORS.len());
            let (points, refused, failures) = (tally.points, tally.kills, tally.failures.len());
            let (stood, seconds) = (stood.join(", "), watch.elapsed().as_secs());
            println!("| {name} | {durability} | {points} | {errors} | {refused} | {stood} | {failures} | {seconds} |");
            eprint!("{}", tally.failures_by_kind());
            is_good &= tally.failures.is_empty();
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The table of what a proof finds in each scenario.
fn each(options: &Options, proof: impl Fn(&Program, &Scenario) -> Option<Tally>) -> ExitCode {
    let cache = cache();
    let mut is_good = true;
    println!("| scenario | durability | points | kills | recoveries | failures | seconds |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for program in programs(options, &cache) {
        for scenario in &options.scenarios {
            let watch = Stopwatch::start();
            let (name, durability) = (scenario.name, program.durability);
            let Some(tally) = proof(&program, scenario) else {
                println!("| {name} | {durability} | not here | | | | |");
                continue;
            };
            let (points, kills, recoveries, failures) =
                (tally.points, tally.kills, tally.recoveries, tally.failures.len());
            let seconds = watch.elapsed().as_secs();
            println!("| {name} | {durability} | {points} | {kills} | {recoveries} | {failures} | {seconds} |");
            eprint!("{}", tally.failures_by_kind());
            is_good &= tally.failures.is_empty();
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn campaign(options: &Options) -> ExitCode {
    let cache = cache();
    let programs = programs(options, &cache);
    println!("seed {}", options.bounds.seed);
    let watch = Stopwatch::start();
    let (tally, next) = campaign::campaign(&programs, &options.scenarios, options.bounds);
    println!("| kills | recoveries | failures | seconds |\n| --- | --- | --- | --- |");
    println!("| {} | {} | {} | {} |", tally.kills, tally.recoveries, tally.failures.len(), watch.elapsed().as_secs());
    if tally.kills < options.bounds.kills {
        let left = options.bounds.kills - tally.kills;
        println!("go on with --seed {} --from {next} --kills {left}", options.bounds.seed);
    }
    eprint!("{}", tally.failures_by_kind());
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
