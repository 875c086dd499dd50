//! Opening, reading, writing, seeking, sizes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _, SeekFrom, Write as _};

use crate::Case;
use crate::report::{at, digest, done, pattern, say, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("file-create-new", create_new),
    ("file-create-truncates", create_truncates),
    ("file-open-missing", open_missing),
    ("file-open-modes", open_modes),
    ("file-open-without-mode", open_without_mode),
    ("file-open-folder", open_folder),
    ("file-read-only-handle", read_only_handle),
    ("file-write-only-handle", write_only_handle),
    ("file-append", append),
    ("file-append-and-read", append_and_read),
    ("file-read-write-handle", read_write_handle),
    ("file-two-handles", two_handles),
    ("file-seek", seek),
    ("file-seek-before-start", seek_before_start),
    ("file-seek-past-end", seek_past_end),
    ("file-gap", gap),
    ("file-set-len", set_len),
    ("file-set-len-and-position", set_len_and_position),
    ("file-set-len-of-read-only", set_len_of_read_only),
    ("file-sync", sync),
    ("file-large", large),
    ("file-many-writes", many_writes),
    ("file-vectored", vectored),
    ("file-read-zero", read_zero),
    ("file-read-exact-short", read_exact_short),
    ("file-not-text", not_text),
    ("file-empty", empty),
    ("file-copy", copy),
    ("file-copy-refused", copy_refused),
    ("file-copy-between-handles", copy_between_handles),
    ("file-clone-handle", clone_handle),
    ("file-removed-while-open", removed_while_open),
    ("file-many-open", many_open),
];

fn create_new(_: &[String]) -> io::Result<()> {
    done("first", File::create_new(at("new")));
    done("second", File::create_new(at("new")));
    done("over a folder", File::create_new(at("folder")));
    done("without its folder", File::create_new(at("none/new")));
    Ok(())
}

fn create_truncates(_: &[String]) -> io::Result<()> {
    drop(File::create(at("text.txt"))?);
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn open_missing(_: &[String]) -> io::Result<()> {
    done("read", File::open(at("none")));
    done("write", OpenOptions::new().write(true).open(at("none")));
    done("append", OpenOptions::new().append(true).open(at("none")));
    done("truncate", OpenOptions::new().write(true).truncate(true).open(at("none")));
    done("below a file", File::open(at("text.txt/none")));
    show("exists", fs::exists(at("none")));
    Ok(())
}

fn open_modes(_: &[String]) -> io::Result<()> {
    for (name, options) in [
        ("write-truncate", OpenOptions::new().write(true).truncate(true)),
        ("write-create", OpenOptions::new().write(true).create(true)),
        ("write-create-truncate", OpenOptions::new().write(true).create(true).truncate(true)),
        ("read-create", OpenOptions::new().read(true).create(true)),
        ("read-truncate", OpenOptions::new().read(true).truncate(true)),
        ("append-truncate", OpenOptions::new().append(true).truncate(true)),
        ("append-create-new", OpenOptions::new().append(true).create_new(true)),
        ("read-write-create-new", OpenOptions::new().read(true).write(true).create_new(true)),
    ] {
        fs::write(at("there"), "there")?;
        done(&format!("{name} there"), options.open(at("there")));
        show("content", fs::read_to_string(at("there")));
        done(&format!("{name} not there"), options.open(at(name)));
        show("exists", fs::exists(at(name)));
    }
    Ok(())
}

fn open_without_mode(_: &[String]) -> io::Result<()> {
    done("no mode", OpenOptions::new().open(at("text.txt")));
    Ok(())
}

fn open_folder(_: &[String]) -> io::Result<()> {
    done("read", File::open(at("folder")));
    done("write", OpenOptions::new().write(true).open(at("folder")));
    done("create", File::create(at("folder")));
    show("read its bytes", File::open(at("folder")).and_then(|mut file| file.read(&mut [0; 4])));
    show("as text", fs::read_to_string(at("folder")));
    Ok(())
}

fn read_only_handle(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("text.txt"))?;
    show("write", file.write(b"x"));
    show("write nothing", file.write(b""));
    show("flush", file.flush());
    let mut text = String::new();
    show("read", file.read_to_string(&mut text));
    Ok(())
}

fn write_only_handle(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(at("text.txt"))?;
    show("read", file.read(&mut [0; 4]));
    show("write", file.write(b"TEXT"));
    show("position", file.stream_position());
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn append(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(at("text.txt"))?;
    show("write", file.write(b"one"));
    show("seek", file.rewind());
    show("write again", file.write(b"two"));
    show("other handle", fs::read(at("text.txt")).map(|bytes| digest(&bytes)));
    let mut other = OpenOptions::new().append(true).create(true).open(at("text.txt"))?;
    show("by another", other.write(b"three"));
    show("and this", file.write(b"four"));
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn append_and_read(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).open(at("text.txt"))?;
    let mut start = [0; 5];
    show("read", file.read_exact(&mut start));
    say("start", start);
    show("write", file.write(b"end"));
    show("position", file.stream_position());
    show("seek", file.seek(SeekFrom::Start(0)));
    let mut all = String::new();
    show("read all", file.read_to_string(&mut all));
    say("content", all);
    Ok(())
}

fn read_write_handle(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(at("new"))?;
    show("write", file.write_all(b"0123456789"));
    show("seek", file.seek(SeekFrom::Start(3)));
    let mut some = [0; 3];
    show("read", file.read_exact(&mut some));
    say("some", some);
    show("overwrite", file.write_all(b"ab"));
    show("position", file.stream_position());
    show("content", fs::read_to_string(at("new")));
    Ok(())
}

fn two_handles(_: &[String]) -> io::Result<()> {
    let mut one = OpenOptions::new().read(true).write(true).open(at("text.txt"))?;
    let mut two = OpenOptions::new().read(true).write(true).open(at("text.txt"))?;
    show("one writes", one.write_all(b"ONE"));
    let mut seen = [0; 3];
    show("two reads", two.read_exact(&mut seen));
    say("seen", seen);
    show("two writes", two.write_all(b"TWO"));
    show("one reads", one.read_exact(&mut seen));
    say("seen", seen);
    Ok(())
}

fn seek(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("lines.txt"))?;
    for to in [SeekFrom::Start(4), SeekFrom::Current(2), SeekFrom::Current(-3), SeekFrom::End(-4), SeekFrom::End(0)] {
        show(&format!("{to:?}"), file.seek(to));
        let mut bytes = [0; 2];
        show("read", file.read(&mut bytes));
        say("bytes", bytes);
    }
    show("rewind", file.rewind());
    show("position", file.stream_position());
    show("relative", file.seek_relative(3));
    show("position", file.stream_position());
    Ok(())
}

fn seek_before_start(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("lines.txt"))?;
    show("to 2", file.seek(SeekFrom::Start(2)));
    show("back 3", file.seek(SeekFrom::Current(-3)));
    show("before the start", file.seek(SeekFrom::End(-1000)));
    show("least", file.seek(SeekFrom::Current(i64::MIN)));
    show("position", file.stream_position());
    show("beyond i64", file.seek(SeekFrom::Start(u64::MAX)));
    Ok(())
}

fn seek_past_end(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("text.txt"))?;
    show("seek", file.seek(SeekFrom::Start(1_000_000)));
    show("read", file.read(&mut [0; 8]));
    show("position", file.stream_position());
    show("length", file.metadata().map(|facts| facts.len()));
    Ok(())
}

fn gap(_: &[String]) -> io::Result<()> {
    let mut file = File::create(at("gap"))?;
    show("seek", file.seek(SeekFrom::Start(10)));
    show("length before", file.metadata().map(|facts| facts.len()));
    show("write", file.write_all(b"end"));
    show("content", fs::read(at("gap")));
    Ok(())
}

fn set_len(_: &[String]) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(at("text.txt"))?;
    for len in [3, 0, 6, 100_000] {
        show(&format!("to {len}"), file.set_len(len));
        show("content", fs::read(at("text.txt")).map(|bytes| digest(&bytes)));
    }
    done("too large", file.set_len(u64::MAX));
    Ok(())
}

fn set_len_and_position(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(at("text.txt"))?;
    show("write", file.write_all(b"0123456789"));
    show("cut", file.set_len(4));
    show("position", file.stream_position());
    show("write", file.write_all(b"x"));
    show("content", fs::read(at("text.txt")));
    Ok(())
}

fn set_len_of_read_only(_: &[String]) -> io::Result<()> {
    let file = File::open(at("text.txt"))?;
    show("cut", file.set_len(1));
    show("same", file.set_len(file.metadata()?.len()));
    show("content", fs::read(at("text.txt")).map(|bytes| digest(&bytes)));
    Ok(())
}

fn sync(_: &[String]) -> io::Result<()> {
    let mut file = File::create(at("new"))?;
    file.write_all(b"text")?;
    show("all", file.sync_all());
    show("data", file.sync_data());
    let read = File::open(at("new"))?;
    show("all of a read-only handle", read.sync_all());
    show("data of a read-only handle", read.sync_data());
    show("all of a folder", File::open(at("folder")).and_then(|folder| folder.sync_all()));
    Ok(())
}

fn large(_: &[String]) -> io::Result<()> {
    let bytes = pattern(3 * 1024 * 1024 + 17);
    show("write", fs::write(at("large"), &bytes));
    show("length", fs::metadata(at("large")).map(|facts| facts.len()));
    show("read", fs::read(at("large")).map(|read| digest(&read)));
    let mut file = File::open(at("large"))?;
    show("seek", file.seek(SeekFrom::End(-5)));
    let mut end = Vec::new();
    show("end", file.read_to_end(&mut end));
    say("bytes", end);
    Ok(())
}

fn many_writes(_: &[String]) -> io::Result<()> {
    let mut file = File::create(at("many"))?;
    for turn in 0..500_u32 {
        file.write_all(&turn.to_le_bytes())?;
    }
    show("position", file.stream_position());
    show("content", fs::read(at("many")).map(|bytes| digest(&bytes)));
    Ok(())
}

fn vectored(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(at("new"))?;
    let parts = [IoSlice::new(b""), IoSlice::new(b"one"), IoSlice::new(b"two"), IoSlice::new(b"three")];
    // How much one call takes is free; what is in the file then is not.
    let count = file.write_vectored(&parts)?;
    say("wrote some", count > 0);
    file.rewind()?;
    let (mut first, mut second) = ([0; 2], [0; 9]);
    let read = file.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])?;
    say("read some", read > 0);
    say("first", first);
    Ok(())
}

fn read_zero(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("text.txt"))?;
    show("nothing", file.read(&mut []));
    show("seek", file.seek(SeekFrom::End(0)));
    show("nothing at the end", file.read(&mut []));
    show("something at the end", file.read(&mut [0; 4]));
    show("again", file.read(&mut [0; 4]));
    Ok(())
}

fn read_exact_short(_: &[String]) -> io::Result<()> {
    let mut file = File::open(at("text.txt"))?;
    show("more than there is", file.read_exact(&mut [0; 1000]));
    show("position", file.stream_position());
    Ok(())
}

fn not_text(_: &[String]) -> io::Result<()> {
    fs::write(at("bytes"), [0x66, 0xff, 0xfe])?;
    show("as text", fs::read_to_string(at("bytes")));
    show("as bytes", fs::read(at("bytes")));
    Ok(())
}

fn empty(_: &[String]) -> io::Result<()> {
    show("write", fs::write(at("empty"), ""));
    show("read", fs::read(at("empty")));
    show("length", fs::metadata(at("empty")).map(|facts| facts.len()));
    Ok(())
}

fn copy(_: &[String]) -> io::Result<()> {
    fs::write(at("large"), pattern(200_000))?;
    show("copy", fs::copy(at("large"), at("copy")));
    show("content", fs::read(at("copy")).map(|bytes| digest(&bytes)));
    show("over", fs::copy(at("text.txt"), at("copy")));
    show("content", fs::read_to_string(at("copy")));
    Ok(())
}

fn copy_refused(_: &[String]) -> io::Result<()> {
    show("missing", fs::copy(at("none"), at("copy")));
    show("exists", fs::exists(at("copy")));
    done("a folder", fs::copy(at("folder"), at("copy")));
    done("onto a folder", fs::copy(at("text.txt"), at("folder")));
    done("into a missing folder", fs::copy(at("text.txt"), at("none/copy")));
    Ok(())
}

fn copy_between_handles(_: &[String]) -> io::Result<()> {
    fs::write(at("large"), pattern(300_000))?;
    let (mut from, mut to) = (File::open(at("large"))?, File::create(at("copy"))?);
    show("copy", io::copy(&mut from, &mut to));
    show("content", fs::read(at("copy")).map(|bytes| digest(&bytes)));
    Ok(())
}

fn clone_handle(_: &[String]) -> io::Result<()> {
    let file = File::open(at("text.txt"))?;
    done("clone", file.try_clone());
    Ok(())
}

fn removed_while_open(_: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(at("text.txt"))?;
    show("remove", fs::remove_file(at("text.txt")));
    let mut text = String::new();
    show("read", file.read_to_string(&mut text));
    show("write", file.write(b"more"));
    show("length", file.metadata().map(|facts| facts.len()));
    show("exists", fs::exists(at("text.txt")));
    Ok(())
}

fn many_open(_: &[String]) -> io::Result<()> {
    let mut open = Vec::new();
    for turn in 0..100 {
        let mut file = File::create(at(&format!("file-{turn}")))?;
        file.write_all(turn.to_string().as_bytes())?;
        open.push(file);
    }
    let mut sum = 0;
    for file in &open {
        sum += file.metadata()?.len();
    }
    say("bytes", sum);
    Ok(())
}
