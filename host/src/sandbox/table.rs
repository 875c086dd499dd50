//! One line for every host function: its name in WIT spelling, its parameters, and whether wasmtime-wasi answers it or we do. The
//! macro puts each of them behind the gate, in both modes; a function that is not in a table cannot be linked.

/// Implements a generated `Host*` trait on `SkillCtx`.
///
/// ```text
/// table! { impl fs::HostDescriptor as "wasi:filesystem/types#[method]descriptor." via |live| live.filesystem();
///     wasi async fn advise = "advise"(this "self": Fd, offset "offset": u64, …) -> FsResult<()>;   // wasmtime-wasi acts
///     wasi fn name = "name"(this "self": Fd, text "text" as Hidden: String) -> Result<()>;           // recorded as `Hidden(&text)`
///     ours(open) async fn open_at = "open-at"(…) -> FsResult<Fd>;                                  // `Live::open` acts
/// }
/// ```
macro_rules! table {
    (impl $tr:path as $prefix:literal via |$live:ident| $view:expr;
     $( $kind:ident $(($ours:ident))? $($word:ident)+ = $wit:literal ( $($arg:ident $key:literal $(as $shown:ident)?: $ty:ty),* $(,)? ) -> $ret:ty; )*) => {
        impl $tr for $crate::sandbox::ctx::SkillCtx {
            $( $crate::sandbox::table::function! {
                [$tr] [$prefix] [$live $view] [$kind $($ours)?] [$($word)+] $wit ($($arg $key $(as $shown)?: $ty),*) -> $ret
            } )*
        }
    };
}
pub(crate) use table;

macro_rules! function {
    ([$tr:path] [$prefix:literal] [$live:ident $view:expr] $kind:tt [async fn $name:ident] $wit:literal
     ($($arg:ident $key:literal $(as $shown:ident)?: $ty:ty),*) -> $ret:ty) => {
        async fn $name(&mut self $(, $arg: $ty)*) -> $ret {
            $crate::sandbox::table::gated!(self, concat!($prefix, $wit), [$($arg $key $(as $shown)?),*], |$live| {
                $crate::sandbox::table::act!([$tr] [$live $view] $kind $name [$($arg),*]).await
            })
        }
    };
    ([$tr:path] [$prefix:literal] [$live:ident $view:expr] $kind:tt [fn $name:ident] $wit:literal
     ($($arg:ident $key:literal $(as $shown:ident)?: $ty:ty),*) -> $ret:ty) => {
        fn $name(&mut self $(, $arg: $ty)*) -> $ret {
            $crate::sandbox::table::gated!(self, concat!($prefix, $wit), [$($arg $key $(as $shown)?),*], |$live| {
                $crate::sandbox::table::act!([$tr] [$live $view] $kind $name [$($arg),*])
            })
        }
    };
}
pub(crate) use function;

macro_rules! act {
    ([$tr:path] [$live:ident $view:expr] [wasi] $name:ident [$($arg:ident),*]) => {
        <_ as $tr>::$name(&mut $view, $($arg),*)
    };
    ([$tr:path] [$live:ident $view:expr] [ours $ours:ident] $name:ident [$($arg:ident),*]) => {
        $live.$ours($($arg),*)
    };
}
pub(crate) use act;

/// What of an argument is recorded: all of it, or what a type makes of it that has a spelling of its own.
macro_rules! shown {
    ($arg:ident) => {
        $arg
    };
    ($arg:ident $shown:ident) => {
        $shown(&$arg)
    };
}
pub(crate) use shown;

/// The body of a host function: note the call, then act and append, or answer from the record.
macro_rules! gated {
    ($self:ident, $function:expr, [$($arg:ident $key:literal $(as $shown:ident)?),*], |$live:ident| $act:expr) => {{
        const FUNCTION: &str = $function;
        let begun = {
            let params: &mut [(&'static str, &dyn $crate::sandbox::wire::Encode)] = &mut [$(($key, &$crate::sandbox::table::shown!($arg $($shown)?))),*];
            $self.gate.begin(FUNCTION, params)
        };
        match begun {
            Err(error) => $crate::sandbox::tape::Answer::trap(error),
            Ok($crate::sandbox::tape::Begun::Recorded(value)) => $self.gate.answer(&value),
            Ok($crate::sandbox::tape::Begun::Live) => {
                // A replay has no `live`: a call that would act cannot.
                let Some($live) = $self.live.as_mut() else {
                    return $crate::sandbox::tape::Answer::trap($crate::sandbox::ctx::nothing_acts());
                };
                let result = $act;
                let result = $crate::sandbox::tape::Answer::settle(result, &mut $live.table);
                $self.gate.end(FUNCTION, result)
            }
        }
    }};
}
pub(crate) use gated;
