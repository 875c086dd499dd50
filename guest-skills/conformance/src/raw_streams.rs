//! `wasi:io` streams of files and of the program itself.

use std::io;

use wasip2::cli::{stderr, stdin, stdout};
use wasip2::filesystem::types::DescriptorFlags;
use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, StreamError};

use crate::Case;
use crate::raw::{new_file, open_file, root};
use crate::report::{digest, pattern, raw, say, stream};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("stream-read", read),
    ("stream-read-offsets", read_offsets),
    ("stream-read-refused", read_refused),
    ("stream-skip", skip),
    ("stream-write", write),
    ("stream-write-offset", write_offset),
    ("stream-append", append),
    ("stream-write-refused", write_refused),
    ("stream-write-zeroes", write_zeroes),
    ("stream-write-too-much", write_too_much),
    ("stream-flush", flush),
    ("stream-splice", splice),
    ("stream-outlives-file", outlives_file),
    ("stream-large", large),
    ("stream-subscribe", subscribe),
    ("stream-stdin", standard_input),
    ("stream-stdin-two", standard_input_two),
    ("stream-stdin-subscribe", standard_input_subscribe),
    ("stream-stdin-or-timer", standard_input_or_timer),
    ("stream-stdout", standard_output),
];

/// Reads to the end; how much one read gives is free.
fn read_all(input: &InputStream) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    loop {
        match input.blocking_read(4096) {
            Ok(some) => bytes.extend(some),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error) => return Err(error),
        }
    }
}

fn content(name: &str) -> io::Result<()> {
    raw(
        "content",
        open_file(name, DescriptorFlags::READ)?
            .read(100, 0)
            .map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()),
    );
    Ok(())
}

fn read(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let input = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("all", read_all(&input).map(|bytes| digest(&bytes)));
    stream("after the end", input.blocking_read(1));
    stream("without blocking", input.read(1));
    Ok(())
}

fn read_offsets(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    for offset in [0, 3, 1_000, u64::MAX] {
        match file.read_via_stream(offset) {
            Ok(input) => stream(&format!("from {offset}"), read_all(&input).map(|bytes| digest(&bytes))),
            Err(code) => raw::<()>(&format!("from {offset}"), Err(code)),
        }
    }
    Ok(())
}

fn read_refused(_: &[String]) -> io::Result<()> {
    raw("folder", root()?.read_via_stream(0).map(|_| ()));
    raw("write-only", open_file("text.txt", DescriptorFlags::WRITE)?.read_via_stream(0).map(|_| ()));
    Ok(())
}

fn skip(_: &[String]) -> io::Result<()> {
    let file = open_file("lines.txt", DescriptorFlags::READ)?;
    let input = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("skip", input.blocking_skip(4));
    stream("rest", read_all(&input).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    stream("at the end", input.blocking_skip(4));
    Ok(())
}

fn write(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    let output = file.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("write", output.blocking_write_and_flush(b"first "));
    stream("again", output.blocking_write_and_flush(b"second"));
    stream("nothing", output.blocking_write_and_flush(b""));
    drop(output);
    content("new")
}

fn write_offset(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    let output = file.write_via_stream(4).map_err(|_| io::ErrorKind::Other)?;
    stream("write", output.blocking_write_and_flush(b"text"));
    drop(output);
    content("new")
}

fn append(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ | DescriptorFlags::WRITE)?;
    let (one, two) = (
        file.append_via_stream().map_err(|_| io::ErrorKind::Other)?,
        file.append_via_stream().map_err(|_| io::ErrorKind::Other)?,
    );
    stream("one", one.blocking_write_and_flush(b"one"));
    stream("two", two.blocking_write_and_flush(b"two"));
    stream("one again", one.blocking_write_and_flush(b"three"));
    drop((one, two));
    content("text.txt")
}

fn write_refused(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    raw("read-only", file.write_via_stream(0).map(|_| ()));
    raw("append to read-only", file.append_via_stream().map(|_| ()));
    raw("folder", root()?.write_via_stream(0).map(|_| ()));
    raw("append to a folder", root()?.append_via_stream().map(|_| ()));
    Ok(())
}

fn write_zeroes(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    let output = file.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("write", output.blocking_write_and_flush(b"a"));
    stream("zeroes", output.blocking_write_zeroes_and_flush(3));
    stream("write", output.blocking_write_and_flush(b"b"));
    drop(output);
    content("new")
}

fn write_too_much(_: &[String]) -> io::Result<()> {
    let output = stdout::get_stdout();
    println!("before");
    stream("more than 4096 at once", output.blocking_write_and_flush(&[b'x'; 4097]));
    Ok(())
}

fn flush(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    let output = file.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    let room = output.check_write();
    stream("there is room", room.map(|room| room >= 4));
    stream("write", output.write(b"text"));
    stream("flush", output.blocking_flush());
    stream("room again", output.check_write().map(|room| room > 0));
    content("new")
}

fn splice(_: &[String]) -> io::Result<()> {
    let from = open_file("text.txt", DescriptorFlags::READ)?;
    let to = new_file("new")?;
    let input = from.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    let output = to.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("three", output.blocking_splice(&input, 3));
    stream("flush", output.blocking_flush());
    stream("rest", output.blocking_splice(&input, 1000).map(|count| count > 0));
    stream("flush", output.blocking_flush());
    stream("at the end", output.blocking_splice(&input, 1));
    content("new")
}

fn outlives_file(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let input = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    drop(file);
    stream("all", read_all(&input).map(|bytes| digest(&bytes)));
    Ok(())
}

fn large(_: &[String]) -> io::Result<()> {
    let bytes = pattern(1_000_003);
    let file = new_file("large")?;
    let output = file.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    for part in bytes.chunks(4096) {
        output.blocking_write_and_flush(part).map_err(|_| io::ErrorKind::Other)?;
    }
    drop(output);
    let input = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    stream("read", read_all(&input).map(|bytes| digest(&bytes)));
    Ok(())
}

fn subscribe(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let input = file.read_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    let ready = input.subscribe();
    say("readable", poll(&[&ready]));
    stream("all", read_all(&input).map(|bytes| digest(&bytes)));
    say("readable at the end", poll(&[&ready]));
    let to = new_file("new")?;
    let output = to.write_via_stream(0).map_err(|_| io::ErrorKind::Other)?;
    let writable = output.subscribe();
    say("writable", poll(&[&writable]));
    say("both", poll(&[&ready, &writable]).len());
    Ok(())
}

fn standard_input(_: &[String]) -> io::Result<()> {
    let input = stdin::get_stdin();
    stream("all", read_all(&input).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    stream("after the end", input.blocking_read(10));
    stream("of a second stream", stdin::get_stdin().blocking_read(10));
    Ok(())
}

fn standard_input_two(_: &[String]) -> io::Result<()> {
    let (one, two) = (stdin::get_stdin(), stdin::get_stdin());
    for turn in 0..3 {
        stream(&format!("one {turn}"), one.blocking_read(2));
        stream(&format!("two {turn}"), two.blocking_read(3));
    }
    Ok(())
}

fn standard_input_or_timer(_: &[String]) -> io::Result<()> {
    let input = stdin::get_stdin();
    let (ready, hour) = (input.subscribe(), wasip2::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000));
    say("input", poll(&[&ready, &hour]));
    say("other order", poll(&[&hour, &ready]));
    stream("all", read_all(&input).map(|bytes| bytes.len()));
    say("at its end", poll(&[&hour, &ready]));
    Ok(())
}

fn standard_input_subscribe(_: &[String]) -> io::Result<()> {
    let input = stdin::get_stdin();
    let ready = input.subscribe();
    let mut bytes = Vec::new();
    loop {
        ready.block();
        match input.read(3) {
            Ok(some) => bytes.extend(some),
            Err(error) => {
                stream::<()>("end", Err(error));
                break;
            }
        }
    }
    say("read", String::from_utf8_lossy(&bytes));
    Ok(())
}

fn standard_output(_: &[String]) -> io::Result<()> {
    let (output, errors) = (stdout::get_stdout(), stderr::get_stderr());
    stream("write", output.blocking_write_and_flush(b"straight\n"));
    stream("errors", errors.blocking_write_and_flush(b"to stderr\n"));
    stream("room", output.check_write().map(|room| room > 0));
    stream("zeroes", output.blocking_write_zeroes_and_flush(2));
    Ok(())
}
