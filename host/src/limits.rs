//! Every bound as a named constant with its reason, and the ceilings of one step as a value.
//!
//! Units are in the names: `_BYTES`, `_MS`, `_MAX` (a count). A bound that a policy may set has a default here; a bound that it may not
//! is fixed because nothing useful needs more and everything unbounded is a way to stop the host.

// ---- documents ----

/// A plan, policy, skill manifest or tool input larger than this is refused before it is parsed. A plan of 10 000 steps is about 2 MiB.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// Nesting of a document's arrays and objects: deep enough for any data, shallow enough that no recursion nears the end of a stack.
pub const DOCUMENT_DEPTH_MAX: usize = 64;
/// A key of an object in a document: keys become parts of the pointers in reports.
pub const DOCUMENT_KEY_BYTES_MAX: usize = 4 << 10;
/// Nesting of a WIT type; the component model has no bound of its own that would keep a type's JSON Schema small.
pub const TYPE_DEPTH_MAX: usize = 64;
/// Parts of one WIT type written out: types share parts, so that a small component can spell a type whose schema would fill the memory.
pub const TYPE_PARTS_MAX: usize = 10_000;
/// Values in one document or tool result: bounds what converting between JSON and component values may allocate.
pub const VALUES_MAX: usize = 4_000_000;
/// A skill's name, a step's id, a tool's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Steps in a plan.
pub const STEPS_MAX: usize = 100_000;
/// Problems in one report: enough to mend a plan in one go, few enough to read.
pub const PROBLEMS_MAX: usize = 100;
/// Policies that an operator trusts although he names them nowhere: each was read by a person, and the list is read whenever one of them counts.
pub const TRUSTED_MAX: usize = 1_000;
/// Grants in a policy.
pub const GRANTS_MAX: usize = 10_000;
/// Rules of one imported document. Each is compared with all before it, and what was written by hand has far fewer.
pub const RULES_IMPORTED_MAX: usize = 500;
/// Steps of one imported document. Each may have to wait for every other one, and what was written by hand has far fewer.
pub const STEPS_IMPORTED_MAX: usize = 500;
/// Other names of a tool: each is looked at for every tool that a plan names.
pub const ALIASES_MAX: usize = 16;
/// Bytes of each text of `skill.toml` that is for a reviewer alone: a few sentences, which are shown whole.
pub const REVIEW_TEXT_BYTES_MAX: usize = 1_000;
/// Tags of a plan, and as many of a policy: each is in the trace of the run and in every list of runs.
pub const TAGS_MAX: usize = 32;
/// Days for which a policy may keep its runs: a hundred years.
pub const RETENTION_DAYS_MAX: u64 = 36_500;
/// Attempts that an imported step may ask for, the first included: what a plan may ask for.
pub const ATTEMPTS_IMPORTED_MAX: u64 = 10;
/// Steps at one time that an imported plan asks for: what a plan may ask for.
pub const PARALLEL_IMPORTED_MAX: usize = 16;
/// A file of rules.
pub const RULES_BYTES_MAX: usize = 1 << 20;
/// Rules of a policy: each is held against the schema, and those that fit a tool's name are evaluated for every call of it.
pub const RULES_MAX: usize = 1_000;
/// One rule. Its parts are walked by recursion, and a chain of `&&` is as deep as it is long.
pub const RULE_BYTES_MAX: usize = 4 << 10;
/// Nesting of brackets in a rule, for the same reason.
pub const RULE_DEPTH_MAX: usize = 32;
/// Values of an input that are put before rules: those that rules read, with all that is in them.
pub const RULE_INPUT_PARTS_MAX: usize = 100_000;
/// Characters of an input that rules read, times the longest text that each of them looks for in one place after another: two or three seconds.
pub const RULE_WORK_MAX: u64 = 2_000_000_000;
/// Roles in a policy, counted for each principal that has one.
pub const ROLES_MAX: usize = 10_000;
/// The reason of a rule, and who answers a request for approval and why: each is in the trace.
pub const APPROVAL_TEXT_BYTES_MAX: usize = 1 << 10;
/// The text that templates in one string may grow to.
pub const TEMPLATE_TEXT_BYTES_MAX: usize = 64 << 20;

// ---- bundles ----

/// Files and folders of a bundle, those that do not count for its id included: each is looked at before every request.
pub const BUNDLE_ENTRIES_MAX: usize = 10_000;
/// The files of a bundle together: all of it is read for the id. Interpreters as components have some 30 MiB each.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 30;
/// Folders inside of each other in a bundle: they are walked by recursion.
pub const BUNDLE_DEPTH_MAX: usize = 32;
/// Exports of a bundle: each is a tool, a plan or a list of tools that `describe` names.
pub const BUNDLE_EXPORTS_MAX: usize = 1_000;
/// Tags, examples and other texts of one export, in each list.
pub const BUNDLE_LIST_MAX: usize = 100;

// ---- the course of a run ----

/// Steps of a plan that may run at one time: each has a thread and its linear memory.
pub const PARALLEL_MAX: u32 = 16;
/// Steps of a plan that asks for more than one at a time: which of them depend on which is a table of that many bits squared, 12 MB.
pub const PARALLEL_STEPS_MAX: usize = 10_000;
/// Attempts of a step, the first included. What fails ten times needs a person.
pub const ATTEMPTS_MAX: u32 = 10;
/// The wait before a step's second attempt. The one before the tenth is 256 times as long: four hours.
pub const BACKOFF_MS_MAX: u64 = 60_000;
/// Conditions of a step.
pub const CONDITIONS_MAX: usize = 100;
/// Compensations of a plan as a whole.
pub const COMPENSATIONS_MAX: usize = 1_000;
/// How long an approval may be waited for: thirty days.
pub const APPROVAL_EXPIRES_S_MAX: u64 = 30 * 86_400;
/// JSON Schema of one output.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// The schemas of a plan together: compiled they take some ten times as much memory.
pub const SCHEMAS_BYTES_MAX: usize = 4 << 20;
/// Parts of a schema with its references written out: each may be held against each value of an output.
pub const SCHEMA_PARTS_MAX: usize = 2_000;
/// A regular expression of a schema, compiled.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1 << 20;
/// The regular expressions of a schema together, compiled.
pub const SCHEMA_PATTERNS_BYTES_MAX: usize = 8 << 20;
/// Steps of holding one output against its schema: a keyword that is looked at for a value, a state of a pattern that is looked at for a byte. Two or three
/// seconds; a table of 100 000 rows against a schema of twenty fields takes four millions.
pub const CONTRACT_WORK_MAX: u64 = 300_000_000;
/// Steps of which it is known at a glance that they are no more: they are made at once, without a thread that could be left behind.
pub const CONTRACT_FREE: u64 = 2_000_000;
/// Characters of an output that did not meet its contract which are shown and recorded.
pub const DRIFT_EXCERPT_CHARS_MAX: usize = 200;
/// Findings of one output that may be held at a time: parts of its schema times its values. Of a larger one it is only known that the
/// schema does not allow it.
pub const DRIFT_FINDINGS_MAX: usize = 200_000;
/// What a step that runs ahead of its turn may hold back of its host calls, in bytes. One that makes more runs again in its turn.
pub const AHEAD_BYTES_MAX: u64 = 64 << 20;
/// How many steps behind the one whose turn it is are looked at for one that may run ahead: looking costs, and those far behind wait anyway.
pub const AHEAD_WINDOW: usize = 64;
/// How many steps one `sys.undo` takes back: as many as can be undone at all.
pub const SYS_UNDO_STEPS_MAX: u32 = 100;
/// Lines that say what a rollback left to do by hand.
pub const ROLLBACK_LEFT_MAX: usize = 1_000;
/// Fields that a drift names.
pub const DRIFT_FIELDS_MAX: usize = 20;
// ---- the index of runs ----

/// Steps that can be undone, over all runs: the journals of older ones are let go, with a notice.
pub const UNDO_STEPS_MAX: usize = 100;
/// An event as the index keeps it. Inputs and outputs may have many megabytes; those are in the trace alone.
pub const INDEX_EVENT_BYTES_MAX: usize = 64 << 10;
/// A request for approval as JSON: what a person is shown and a webhook is sent.
pub const APPROVAL_REQUEST_BYTES_MAX: usize = 256 << 10;
/// Completed steps of one fingerprint that are offered for reuse: the newest is nearly always the one.
pub const REUSABLE_MAX: usize = 16;
/// How long one waits for another process that writes the index. Its transactions take milliseconds.
pub const INDEX_BUSY_MS: u64 = 10_000;
/// How long a run waits for another one that works in the same directory. Longer runs are better told than waited for.
pub const WORKSPACE_LOCK_WAIT_MS: u64 = 30_000;
/// How long after a signal a run may still come to its end, where `HOST_GRACE_MS` does not say it: the guest stops within 20 ms, and whoever waits
/// for the program sees it end at once.
pub const GRACE_MS_DEFAULT: u64 = 120;
/// The most that it may say: service managers wait for a minute and a half.
pub const GRACE_MS_MAX: u64 = 600_000;
/// How long one waits for a run's lock: those that look whether it is held take it for an instant.
pub const RUN_LOCK_WAIT_MS: u64 = 200;
/// How long a decision waits for others who look at the same run: loading its components may take seconds on a busy machine.
pub const DECISION_WAIT_MS: u64 = 10_000;
/// Commits that wait for the thread that writes the index. Each has the events of a step; whoever hands over more waits.
pub const INDEX_QUEUE_MAX: usize = 256;
/// How long a commit waits for others to be written with: many steps then cost one sync of the index, and other programs see the run at most
/// so much behind its trace.
pub const INDEX_LINGER_MS: u64 = 20;
/// Events of one transaction while the index is built again: bounds the memory, whatever the length of a trace.
pub const REINDEX_ROWS_MAX: usize = 1_000;

// ---- what would change ----

/// A file that is compared line by line. Texts that people write are shorter; of longer ones lengths and digests are told.
pub const DIFF_INPUT_BYTES_MAX: usize = 1 << 20;
/// Lines that differ on one side times those on the other: finding the smallest difference takes as many steps at the worst, here about a
/// second. Of more, all of them are one change.
pub const DIFF_WORK_MAX: usize = 100_000_000;
/// Steps of finding a diff that weigh as much as a byte of it, of [`DIFFS_BYTES_MAX`]: eight diffs as hard to find as one may be are all that a report has.
pub const DIFF_WORK_PER_BYTE: usize = DIFF_WORK_MAX / (DIFFS_BYTES_MAX / 8);
/// The diff of one file: some thousand lines, more than anybody reads.
pub const DIFF_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// The diffs of one report together. Of what changed besides, the paths are told.
pub const DIFFS_BYTES_MAX: usize = 1 << 20;
/// Paths of one comparison that are told; the others are counted.
pub const DIFF_CHANGES_MAX: usize = 10_000;
/// Bytes that a dry run copies, where the file system cannot share them: what a disk writes in some ten seconds.
pub const DRY_RUN_BYTES_MAX: u64 = 4 << 30;
/// Files, folders and links that a dry run copies.
pub const DRY_RUN_ENTRIES_MAX: u64 = 200_000;
/// The same for the rehearsal of one step, for which a person waits.
pub const PREVIEW_BYTES_MAX: u64 = 256 << 20;
/// Files, folders and links that it copies.
pub const PREVIEW_ENTRIES_MAX: u64 = 20_000;
/// Time that the rehearsal of one step may take.
pub const PREVIEW_MS_MAX: u64 = 10_000;
/// Lines of a rehearsal's diff that a question shows.
pub const PREVIEW_LINES_MAX: usize = 200;

// ---- components ----

/// A component file. The largest known real ones, language interpreters, are below 20 MiB.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Tools in one skill.
pub const TOOLS_MAX: usize = 1_000;
/// Entries of each list in a skill's `needs`: each one is asked of the grant before a step runs.
pub const NEEDS_MAX: usize = 100;
/// Bytes of one value of a component's types, lists and strings apart: with arrays of arrays a few bytes spell a size that no memory has.
pub const TYPE_BYTES_MAX: u64 = 16 << 20;
/// Locals times blocks of one function: what the compiler's memory grows with. The largest functions of language interpreters have some ten
/// millions; at this bound it takes about a gigabyte.
pub const FUNCTION_WORK_MAX: u64 = 40_000_000;
/// The same where the compiler runs in the process itself.
pub const FUNCTION_WORK_IN_PROCESS_MAX: u64 = 20_000_000;
/// Values that the calls, jumps and blocks of one function hand over. Those of language interpreters have some hundred thousand; six millions,
/// which are 14 KB, cost the compiler a minute and three gigabytes.
pub const FUNCTION_VALUES_MAX: u64 = 2_000_000;
/// The same where the compiler runs in the process itself.
pub const FUNCTION_VALUES_IN_PROCESS_MAX: u64 = 500_000;
/// Bytes of one function where the compiler runs in the process itself. The loops of interpreters have some hundred thousand.
pub const FUNCTION_BYTES_IN_PROCESS_MAX: u64 = 1 << 20;
/// What all functions of a component cost together, in values and more for large ones, where the compiler runs in the process itself.
pub const COMPONENT_WORK_IN_PROCESS_MAX: u64 = 100_000_000;
/// Types, functions, imports, exports and the like of a component and all that is in it. Interpreters of 11 MiB have some ten thousand; each
/// takes the host some hundred bytes as long as the component is loaded.
pub const COMPONENT_ITEMS_MAX: u64 = 500_000;

/// Address space of the process that compiles a component. The largest interpreters take half of it.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Seconds of processor time that compiling a component takes, all threads together. The largest interpreters take a fifth.
pub const COMPILE_CPU_S_MAX: u64 = 120;
/// Seconds on the clock: the processor may be busy with something else.
pub const COMPILE_WALL_S_MAX: u64 = 300;
/// Milliseconds in which a compiler that has answered, or closed its answer, ends by itself.
pub const COMPILER_END_MS_MAX: u64 = 1_000;
/// Bytes of what a compiler is told, and says, beside component and code: the longest is a list of what is async.
pub const COMPILER_LINE_BYTES_MAX: usize = 1 << 20;
/// The compiled code of one component. An interpreter's of 11 MiB has 40 MB.
pub const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// Compiled code that is kept, summed: some dozen interpreters. What was not used for longest goes.
pub const CODE_CACHE_BYTES_MAX: u64 = 1 << 30;
/// Entries of the cache of compiled code.
pub const CODE_CACHE_ENTRIES_MAX: usize = 10_000;
/// Names in the folder of the cache that are looked at when it is pruned, others than its own among them.
pub const CODE_CACHE_LISTED_MAX: usize = 20_000;
/// What is said about compiled code that is not used: one for each component that a host loads, where none of them is.
pub const CODE_NOTES_MAX: usize = 100;

/// Parts of the types of all functions that a component exports, written out.
pub const COMPONENT_TYPE_PARTS_MAX: usize = 1_000_000;
/// Exported functions that are no tools and are listed as such.
pub const NOT_TOOLS_MAX: usize = 10_000;
/// Exports and imports that are named where a component is refused for being async.
pub const ASYNC_PLACES_MAX: usize = 1_000;

/// Components inside of each other: five thousand, which are 65 KB, cost the engine 700 MiB. Composed ones have a handful.
pub const COMPONENT_DEPTH_MAX: usize = 100;

// ---- one step: defaults a policy may change ----

/// Fuel of a step: about one wasm instruction each, a second or two of work.
pub const FUEL_DEFAULT: u64 = 2_000_000_000;
/// Fuel a policy may grant: 2^53 - 1, the largest integer that every JSON reader keeps exact.
pub const FUEL_MAX: u64 = (1 << 53) - 1;
/// Wall time of a step, blocked host calls included.
pub const DEADLINE_MS_DEFAULT: u64 = 30_000;
/// The longest deadline a policy may grant: a day.
pub const DEADLINE_MS_MAX: u64 = 86_400_000;
/// Linear memory of a step, summed over its memories.
pub const MEMORY_BYTES_DEFAULT: u64 = 128 << 20;
/// The most linear memory a policy may grant: all of a 32-bit address space.
pub const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// A step's output as canonical JSON.
pub const OUTPUT_BYTES_DEFAULT: u64 = 16 << 20;
/// The most a policy may grant for it.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 20;
/// Bytes a guest may write to each of stdout and stderr.
pub const STDIO_BYTES_DEFAULT: u64 = 1 << 20;
/// The most a policy may grant for each.
pub const STDIO_BYTES_MAX: u64 = 64 << 20;
/// Host calls of a step.
pub const HOST_CALLS_DEFAULT: u64 = 10_000_000;
/// The most a policy may grant.
pub const HOST_CALLS_MAX: u64 = 1_000_000_000;
/// Bytes that one step's events and blobs may take.
pub const TRACE_BYTES_DEFAULT: u64 = 4 << 30;
/// The most a policy may grant.
pub const TRACE_BYTES_MAX: u64 = 64 << 30;

// ---- a run: what a policy may set ----

/// Host calls of a run: the largest integer that every JSON reader keeps exact.
pub const RUN_HOST_CALLS_MAX: u64 = FUEL_MAX;
/// The longest that a run may be allowed to take: a week.
pub const RUN_DEADLINE_MS_MAX: u64 = 7 * DEADLINE_MS_MAX;

// ---- one step: fixed ----

/// Bytes a guest may hand over in the arguments of one host call: the lists and strings it makes the host allocate.
pub const HOST_CALL_ARGUMENT_BYTES_MAX: usize = 16 << 20;
/// Bytes that one host call may read, whatever the guest asks for.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Files whose identity a step's host remembers: what a walk over a large tree asks about, and a few megabytes. Of more the path counts.
pub const FILE_IDENTITIES_MAX: usize = 100_000;
/// Bytes of randomness in one host call: enough for any key, too few to fill the trace in one call.
pub const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Open handles (descriptors, streams, pollables) of a step.
pub const HANDLES_MAX: usize = 10_000;
/// Pollables in one `poll`. Below [`HANDLES_MAX`], because each is borrowed for the call and a borrow takes a handle.
pub const POLLABLES_MAX: usize = 4_000;
/// Entries of a step's directory listings, summed over those that are open: the host sorts and keeps them in its own memory.
pub const DIRECTORY_ENTRIES_MAX: usize = 100_000;
/// A guest path that a descriptor is opened at. The host keeps it for as long as the descriptor is open, and folders may be nested
/// without end: it is what an operating system takes in one path.
pub const GUEST_PATH_BYTES_MAX: usize = 4 << 10;
/// Elements of a step's tables.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances, memories and tables of a component each: real components have fewer than ten. A component with more is refused at load.
pub const INSTANCES_MAX: usize = 100;
/// Stack of a guest. Fixed, because the depth at which it ends must not depend on the machine.
pub const GUEST_STACK_BYTES: usize = 1 << 20;
/// Stack of the fiber the guest runs on: the guest's own and what host functions need below it.
pub const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + (1 << 20);
/// Symbolic links that are followed on the way of one path: what operating systems follow.
pub const LINKS_FOLLOWED_MAX: usize = 40;
/// Files in the host's own folders that are looked at to tell whether a file of a workspace is one of them under another name: those of some
/// hundred thousand runs. Where there are more, no file of several names is reached.
pub const OWN_FILES_MAX: usize = 1_000_000;
/// Records of a step's undo journal: about two for each file that it makes or changes. All of them are in memory while it is undone.
pub const JOURNAL_RECORDS_MAX: usize = 250_000;
/// Bytes of files that a step's undo journal keeps copies of. What shares its blocks with the file or is the file itself does not count.
pub const JOURNAL_BYTES_MAX: u64 = 8 << 30;
/// Content that is kept in the journal's own file, so that one sync makes it durable with its record; larger files are kept beside it.
pub const JOURNAL_INLINE_BYTES_MAX: u64 = 64 << 10;
/// Files for the undo journals of a run that are made durable together, before they are needed: so many at first, then as many as there
/// were.
pub const JOURNAL_SPARES_MIN: u32 = 8;
/// The most that are made at one time: each costs a sixty-fourth of a sync then, and what a run leaves unused is removed at its end.
pub const JOURNAL_SPARES_MAX: u32 = 64;
/// A removed file of this size is kept under another name rather than copied.
pub const JOURNAL_HELD_BYTES_MIN: u64 = 1 << 20;
/// One frame of a journal: the records of one call with their bytes, or a part of what was noted at the end of the step.
pub const JOURNAL_FRAME_BYTES_MAX: u64 = 16 << 20;
/// What a journal says of what a step looked at: it goes into one frame. A step that looked at more is run again where it could be reused.
pub const JOURNAL_LOOKED_BYTES_MAX: u64 = 15 << 20;
/// Bytes of each side of a conflict that are compared line by line; of larger files it is only said that they differ.
pub const CONFLICT_TEXT_BYTES_MAX: u64 = 256 << 10;
/// Lines of one side times those of the other, over all conflicts of one undo: about a second. What is in conflict besides is told without a difference.
pub const CONFLICT_WORK_MAX: usize = 100_000_000;
/// Bytes of one conflict's difference: enough to see what it is about.
pub const CONFLICT_DIFF_BYTES_MAX: usize = 16 << 10;
/// Paths that a step's record of what it read holds. A step that read more cannot be answered from another run.
pub const READS_MAX: usize = 100_000;
/// Bytes of one structured log record of a guest.
pub const LOG_RECORD_BYTES_MAX: usize = 64 << 10;
/// Log records of one invocation that are told to whoever asked; more are only in the trace. They are held in memory until the answer.
pub const LOGS_KEPT_MAX: usize = 1_000;
/// Bytes of these records: an answer is read as a whole.
pub const LOGS_KEPT_BYTES_MAX: usize = 256 << 10;
/// The end of what a function wrote to stdout or stderr that is told as a log record.
pub const LOGGED_OUTPUT_BYTES_MAX: usize = 16 << 10;
/// One request of `host exec`: it is read as a whole before anything is known of it.
pub const EXEC_REQUEST_BYTES_MAX: usize = 4 << 20;
/// An id of a request, or of who asks. Long enough for any that is made by a program.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Names and values of `meta.env` of a request, all together: they are told to a guest at one time, and kept with its run.
pub const REQUEST_ENV_BYTES_MAX: usize = 64 << 10;
/// Ids of requests that a session knows: of two that are further apart nobody would know which is meant anyway.
pub const REQUEST_IDS_SEEN_MAX: usize = 100_000;
/// Idempotency keys that a state folder knows. Each is a row of the index, and asking for one counts them; `host gc` forgets old ones.
pub const IDEMPOTENCY_KEYS_MAX: i64 = 100_000;
/// An answer that is kept for its key. Of a longer one the key knows that it was given, and by which run.
pub const IDEMPOTENT_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Skills that stay loaded between runs. A compiled component takes a few megabytes of address space.
pub const WARM_SKILLS_MAX: usize = 256;
/// Frames of a guest's backtrace that are kept.
pub const BACKTRACE_FRAMES_MAX: usize = 32;

/// Bytes of the names and values of one `fields` of a guest, with what the host adds for each.
pub const HTTP_FIELD_BYTES_MAX: usize = 64 << 10;
/// `fields` that a guest has made and not dropped, also inside of requests: with [`HTTP_FIELD_BYTES_MAX`] 64 MiB of the host's memory.
pub const HTTP_FIELDS_MAX: usize = 1_000;
/// A request's method; the longest registered one has 17 bytes.
pub const HTTP_METHOD_BYTES_MAX: usize = 32;
/// Bytes of a request's body that a guest may write before it has to wait until they were taken.
pub const HTTP_WINDOW_BYTES: usize = 1 << 20;
/// Bytes that were written into bodies of requests which are not sent yet, summed: nothing takes them.
pub const HTTP_UNSENT_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a response's body that one read gives at the most, and that a wait gathers.
pub const HTTP_READ_BYTES: usize = 64 << 10;
/// Milliseconds that a wait gathers after the first bytes of a response's body have come. Long enough that a body in flow is cut where its
/// bytes say and not where packets end, short enough for a peer that sends one message now and then.
pub const HTTP_GATHER_MS: u64 = 1_000;

/// Bytes of what a step wrote to stderr last that its report keeps: a panic's message with its place, or the end of a program's complaint.
pub const REPORT_STDERR_BYTES_MAX: usize = 2_000;

/// Milliseconds that a replayed step runs on after its last recorded call, where the recorded one was ended by the clock or from outside.
/// What it does there is not recorded and so cannot diverge: without a bound, a guest that spun until its deadline would spin as long again.
pub const REPLAY_TAIL_MS_MAX: u64 = 1_000;

// ---- one step: calls of other tools ----

/// Calls of other tools inside of each other, where a policy does not say less: each has a sandbox, and more than three hide what a plan does.
pub const CALL_DEPTH_MAX: u64 = 3;
/// Entries of a grant's `calls`.
pub const CALLS_MAX: usize = 1_000;
/// Linear memory of a step and of what it calls that is in use at one time: what one step may be granted.
pub const CALL_MEMORY_BYTES_MAX: u64 = MEMORY_BYTES_MAX;
/// Characters of the message of a call that was not made or did not complete. A tool's own error is handed over whole.
pub const CALL_ERROR_CHARS_MAX: usize = 1_000;

// ---- one step: the network ----

/// Rules on URLs in one grant: each request looks at them in order.
pub const NETWORK_RULES_MAX: usize = 1_000;
/// Methods, headers, secrets and address ranges of one rule, each.
pub const NETWORK_RULE_ITEMS_MAX: usize = 64;
/// A request's URL, and the one of a rule. Servers commonly take 8 KiB for a request line.
pub const URL_BYTES_MAX: usize = 8 << 10;
/// Percent-decodings of a path that are looked at, one inside of the other: honest clients need one, twice encoded text needs two.
pub const PATH_DECODINGS_MAX: usize = 4;
/// Secrets that a policy declares.
pub const SECRETS_MAX: usize = 1_000;
/// A secret's value: a long token fits, and it fits into a request's header with others.
pub const SECRET_BYTES_MAX: u64 = 8 << 10;
/// A secret's value is at least so long: something shorter would be found, and starred, all over what servers answer.
pub const SECRET_BYTES_MIN: usize = 4;
/// A file of root certificates: the list of all that browsers trust is a quarter of a MiB.
pub const ROOTS_BYTES_MAX: u64 = 4 << 20;
/// Headers of a request with their names, those that are put in at egress included.
pub const REQUEST_HEADER_BYTES_MAX: usize = 32 << 10;
/// Body of a request: as much as a guest may write in some dozen host calls.
pub const REQUEST_BODY_BYTES_MAX: u64 = 64 << 20;
/// Head of a response: what the parser may buffer before it gives up.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of a response.
pub const RESPONSE_HEADERS_MAX: usize = 200;
/// Body of a response, as it comes over the wire: large documents fit, an endless one ends.
pub const RESPONSE_BODY_BYTES_MAX: u64 = 256 << 20;
/// Requests of a step that are under way at one time.
pub const REQUESTS_AT_ONCE_MAX: usize = 16;
/// Requests of a step: a crawl fits, a flood does not.
pub const REQUESTS_MAX: usize = 1_000;
/// Addresses of one name that are tried; all of them are checked.
pub const ADDRESSES_TRIED_MAX: usize = 8;
/// Looking up a name.
pub const RESOLVE_MS_MAX: u64 = 10_000;
/// Name look-ups of the system's resolver under way at one time in a run: one that stalls keeps its thread until the system gives up.
pub const RESOLVES_AT_ONCE_MAX: usize = 64;
/// Connecting, all addresses together.
pub const CONNECT_MS_MAX: u64 = 10_000;
/// The TLS handshake.
pub const TLS_MS_MAX: u64 = 10_000;
/// From the request's first byte to the last one of the response's head: servers that think for a minute exist.
pub const FIRST_BYTE_MS_MAX: u64 = 120_000;
/// Silence inside of a response's body.
pub const BETWEEN_BYTES_MS_MAX: u64 = 60_000;
/// A request from its start to the end of its response: also ends a peer that drips.
pub const REQUEST_MS_MAX: u64 = 600_000;

// ---- approvals ----

/// A key that messages are signed with: what can be guessed signs nothing.
pub const SIGNING_KEY_BYTES_MIN: usize = 16;
/// A webhook from looking its name up to the head of its answer: the run waits for it, and a service that takes messages answers at once.
pub const WEBHOOK_MS_MAX: u64 = 10_000;
/// The body of a webhook: what services take in one message. Where values would make it longer they are left out.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 256 << 10;
/// A text of a webhook, such as its message: a person reads it.
pub const WEBHOOK_TEXT_BYTES_MAX: usize = 4 << 10;

// ---- trace ----

/// Byte payloads up to this size are written into the event; larger ones go to the blob store and appear as digest and length.
pub const INLINE_BYTES_MAX: usize = 256;
/// The same for strings.
pub const INLINE_STRING_BYTES_MAX: usize = 4 << 10;
/// One blob: what one host call may hand over or read, with room for the longest listing.
pub const BLOB_BYTES_MAX: usize = 64 << 20;
/// How deep a plan's output and what an approval shows may be nested with their references resolved: a document of
/// [`DOCUMENT_DEPTH_MAX`] may refer to an output of [`TYPE_DEPTH_MAX`], and readers of traces take no more than 120 levels.
pub const RESOLVED_DEPTH_MAX: usize = 100;
/// One line of a trace. Outputs are bounded by [`OUTPUT_BYTES_MAX`]; escaping can make text six times as long.
pub const TRACE_LINE_BYTES_MAX: usize = 2 << 30;

// ---- policy lab ----

/// Paths, URLs and variables of one run that the lab holds in memory: a run that touches more is refused rather than half looked at.
pub const LAB_TOUCHED_MAX: usize = 200_000;
/// Findings of one comparison that are kept and shown; all are counted.
pub const LAB_FINDINGS_MAX: usize = 1_000;

const _: () = assert!(FUEL_DEFAULT <= FUEL_MAX);
const _: () = assert!(MEMORY_BYTES_DEFAULT <= MEMORY_BYTES_MAX);
const _: () = assert!(INLINE_BYTES_MAX <= INLINE_STRING_BYTES_MAX);
const _: () = assert!(GUEST_STACK_BYTES < FIBER_STACK_BYTES);
const _: () = assert!(OUTPUT_BYTES_MAX * 6 < TRACE_LINE_BYTES_MAX as u64);

/// What one step may use at the most. A policy sets the ceilings, a step of a plan may lower them, nothing raises them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// Fuel units. Exceeded: [`LimitKind::Fuel`].
    pub fuel: u64,
    /// Milliseconds of wall time. Exceeded: [`LimitKind::Deadline`].
    pub deadline_ms: u64,
    /// Bytes of linear memory, summed. Exceeded: [`LimitKind::Memory`].
    pub memory_bytes: u64,
    /// Bytes of the output as canonical JSON. Exceeded: [`LimitKind::Output`].
    pub output_bytes: u64,
    /// Bytes to each of stdout and stderr. Exceeded: [`LimitKind::Stdio`].
    pub stdio_bytes: u64,
    /// Host calls. Exceeded: [`LimitKind::HostCalls`].
    pub host_calls: u64,
    /// Bytes of trace. Exceeded: [`LimitKind::Trace`].
    pub trace_bytes: u64,
}

impl StepLimits {
    /// The limits where no document says anything.
    pub const DEFAULT: Self = Self {
        fuel: FUEL_DEFAULT,
        deadline_ms: DEADLINE_MS_DEFAULT,
        memory_bytes: MEMORY_BYTES_DEFAULT,
        output_bytes: OUTPUT_BYTES_DEFAULT,
        stdio_bytes: STDIO_BYTES_DEFAULT,
        host_calls: HOST_CALLS_DEFAULT,
        trace_bytes: TRACE_BYTES_DEFAULT,
    };

    /// The most that a policy may grant.
    pub const MAX: Self = Self {
        fuel: FUEL_MAX,
        deadline_ms: DEADLINE_MS_MAX,
        memory_bytes: MEMORY_BYTES_MAX,
        output_bytes: OUTPUT_BYTES_MAX,
        stdio_bytes: STDIO_BYTES_MAX,
        host_calls: HOST_CALLS_MAX,
        trace_bytes: TRACE_BYTES_MAX,
    };

    /// Each limit as (name in documents, value), in the order of the struct.
    #[must_use]
    pub const fn entries(&self) -> [(&'static str, u64); 7] {
        [
            ("fuel", self.fuel),
            ("deadline_ms", self.deadline_ms),
            ("memory_bytes", self.memory_bytes),
            ("output_bytes", self.output_bytes),
            ("stdio_bytes", self.stdio_bytes),
            ("host_calls", self.host_calls),
            ("trace_bytes", self.trace_bytes),
        ]
    }

    /// The lower of both, limit by limit.
    #[must_use]
    pub fn lower_of(self, other: &Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            deadline_ms: self.deadline_ms.min(other.deadline_ms),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            output_bytes: self.output_bytes.min(other.output_bytes),
            stdio_bytes: self.stdio_bytes.min(other.stdio_bytes),
            host_calls: self.host_calls.min(other.host_calls),
            trace_bytes: self.trace_bytes.min(other.trace_bytes),
        }
    }

    /// These limits with one of another value, by its name; `None` where none is called so.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Option<Self> {
        *match name {
            "fuel" => &mut self.fuel,
            "deadline_ms" => &mut self.deadline_ms,
            "memory_bytes" => &mut self.memory_bytes,
            "output_bytes" => &mut self.output_bytes,
            "stdio_bytes" => &mut self.stdio_bytes,
            "host_calls" => &mut self.host_calls,
            "trace_bytes" => &mut self.trace_bytes,
            _ => return None,
        } = value;
        Some(self)
    }

    /// These limits with each one lowered to what `asked` says where that is lower.
    #[must_use]
    pub fn tightened(self, asked: &LimitsDocument) -> Self {
        let lower = |limit: u64, asked: Option<u64>| asked.map_or(limit, |asked| asked.min(limit));
        Self {
            fuel: lower(self.fuel, asked.fuel),
            deadline_ms: lower(self.deadline_ms, asked.deadline_ms),
            memory_bytes: lower(self.memory_bytes, asked.memory_bytes),
            output_bytes: lower(self.output_bytes, asked.output_bytes),
            stdio_bytes: lower(self.stdio_bytes, asked.stdio_bytes),
            host_calls: lower(self.host_calls, asked.host_calls),
            trace_bytes: lower(self.trace_bytes, asked.trace_bytes),
        }
    }
}

/// The limits as a document writes them: each may be absent. The same shape in a plan's step, a policy and a grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsDocument {
    /// See [`StepLimits::fuel`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// See [`StepLimits::deadline_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// See [`StepLimits::memory_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`StepLimits::output_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// See [`StepLimits::stdio_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio_bytes: Option<u64>,
    /// See [`StepLimits::host_calls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// See [`StepLimits::trace_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_bytes: Option<u64>,
}

impl LimitsDocument {
    /// A document that says nothing.
    pub const NONE: Self = Self {
        fuel: None,
        deadline_ms: None,
        memory_bytes: None,
        output_bytes: None,
        stdio_bytes: None,
        host_calls: None,
        trace_bytes: None,
    };
}

/// Which bound a step hit. [`Self::name`] is its spelling in traces, policies and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// [`StepLimits::fuel`].
    Fuel,
    /// [`StepLimits::deadline_ms`].
    Deadline,
    /// `deadline_ms` of a policy's `[run]`: the time of all steps.
    RunDeadline,
    /// [`StepLimits::memory_bytes`].
    Memory,
    /// [`StepLimits::output_bytes`].
    Output,
    /// [`StepLimits::stdio_bytes`].
    Stdio,
    /// [`StepLimits::host_calls`].
    HostCalls,
    /// [`StepLimits::trace_bytes`].
    Trace,
    /// [`GUEST_STACK_BYTES`].
    Stack,
    /// [`TABLE_ELEMENTS_MAX`].
    Table,
    /// [`HOST_CALL_ARGUMENT_BYTES_MAX`].
    Arguments,
    /// [`RANDOM_BYTES_MAX`].
    Random,
    /// [`HANDLES_MAX`].
    Handles,
    /// [`POLLABLES_MAX`].
    Pollables,
    /// [`DIRECTORY_ENTRIES_MAX`].
    DirectoryEntries,
    /// [`VALUES_MAX`].
    Values,
    /// [`LOG_RECORD_BYTES_MAX`].
    LogRecord,
    /// [`HTTP_FIELD_BYTES_MAX`].
    HttpFieldBytes,
    /// [`HTTP_FIELDS_MAX`].
    HttpFields,
    /// [`HTTP_UNSENT_BYTES_MAX`].
    HttpUnsent,
    /// [`JOURNAL_RECORDS_MAX`] and [`JOURNAL_BYTES_MAX`].
    Journal,
    /// [`CONTRACT_WORK_MAX`].
    Contract,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Fuel,
        Self::Deadline,
        Self::RunDeadline,
        Self::Memory,
        Self::Output,
        Self::Stdio,
        Self::HostCalls,
        Self::Trace,
        Self::Stack,
        Self::Table,
        Self::Arguments,
        Self::Random,
        Self::Handles,
        Self::Pollables,
        Self::DirectoryEntries,
        Self::Values,
        Self::LogRecord,
        Self::HttpFieldBytes,
        Self::HttpFields,
        Self::HttpUnsent,
        Self::Journal,
        Self::Contract,
    ];

    /// The limit's name: its key in a policy's `limits` where [`Self::is_policy_key`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline_ms",
            Self::RunDeadline => "run_deadline_ms",
            Self::Memory => "memory_bytes",
            Self::Output => "output_bytes",
            Self::Stdio => "stdio_bytes",
            Self::HostCalls => "host_calls",
            Self::Trace => "trace_bytes",
            Self::Stack => "stack_bytes",
            Self::Table => "table_elements",
            Self::Arguments => "argument_bytes",
            Self::Random => "random_bytes",
            Self::Handles => "handles",
            Self::Pollables => "pollables",
            Self::DirectoryEntries => "directory_entries",
            Self::Values => "values",
            Self::LogRecord => "log_record_bytes",
            Self::HttpFieldBytes => "http_field_bytes",
            Self::HttpFields => "http_fields",
            Self::HttpUnsent => "http_unsent_bytes",
            Self::Journal => "journal",
            Self::Contract => "contract_work",
        }
    }

    /// Whether a policy may set it.
    #[must_use]
    pub fn is_policy_key(self) -> bool {
        StepLimits::DEFAULT.entries().iter().any(|(name, _)| *name == self.name())
    }

    /// The limit of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}
