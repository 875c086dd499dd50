//! Ways to end, and ways not to.

use std::hint::black_box;
use std::process::ExitCode;

use crate::{Failure, Outcome};

/// Bytes of a page of linear memory.
const PAGE: usize = 64 * 1024;

/// Ends with an exit code. The host learns only whether it is 0: `wasi:cli/exit` as a linked preview 1 program calls it has no number.
pub(crate) fn exit(code: u8) -> Outcome {
    Ok(ExitCode::from(code))
}

/// Panics.
#[expect(clippy::panic, reason = "panicking is the purpose")]
pub(crate) fn panic() -> Outcome {
    panic!("probe was asked to panic");
}

/// Allocates memory in steps of one MiB, touches every page and prints how much it got. A host that refuses memory makes it fail with an
/// error, not abort.
pub(crate) fn allocate(mebibytes: usize) -> Outcome {
    const MIB: usize = 1024 * 1024;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for got in 0..mebibytes {
        let mut block = Vec::new();
        if block.try_reserve_exact(MIB).is_err() {
            return Err(Failure::Operation(format!("no more memory after {got} MiB")));
        }
        block.resize(MIB, 0_u8);
        for page in block.chunks_mut(PAGE) {
            if let Some(first) = page.first_mut() {
                *first = 1;
            }
        }
        blocks.push(black_box(block));
    }
    println!("allocated {mebibytes} MiB");
    Ok(ExitCode::SUCCESS)
}

/// Never ends.
pub(crate) fn spin() -> Outcome {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Calls itself until the stack is used up.
#[expect(unconditional_recursion, reason = "using up the stack is the purpose")]
pub(crate) fn recurse() -> Outcome {
    fn deeper(level: u64) -> u64 {
        black_box(deeper(black_box(level + 1))) + level
    }
    println!("{}", deeper(0));
    Ok(ExitCode::SUCCESS)
}

/// Executes an unreachable instruction without a word.
pub(crate) fn trap() -> Outcome {
    std::process::abort()
}
