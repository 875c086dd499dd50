//! Standard input and output, and buffers over files.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};

use crate::Case;
use crate::report::{at, digest, pattern, say, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("stdin-lines", stdin_lines),
    ("stdin-whole", stdin_whole),
    ("stdin-parts", stdin_parts),
    ("stdin-nothing", stdin_nothing),
    ("stdin-not-text", stdin_not_text),
    ("stdout-bytes", stdout_bytes),
    ("stdout-large", stdout_large),
    ("stdout-not-flushed", stdout_not_flushed),
    ("stderr", stderr),
    ("terminal", terminal),
    ("buffer-lines", buffer_lines),
    ("buffer-lines-endings", buffer_lines_endings),
    ("buffer-writer", buffer_writer),
    ("buffer-seek", buffer_seek),
    ("buffer-split", buffer_split),
    ("buffer-take-chain", buffer_take_chain),
];

fn stdin_lines(_: &[String]) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        say("line", line?);
    }
    Ok(())
}

fn stdin_whole(_: &[String]) -> io::Result<()> {
    let mut text = String::new();
    show("read", io::stdin().read_to_string(&mut text));
    say("content", text);
    show("again", io::stdin().read(&mut [0; 4]));
    Ok(())
}

fn stdin_parts(_: &[String]) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut some = [0; 3];
    while let Ok(()) = input.read_exact(&mut some) {
        say("part", some);
    }
    Ok(())
}

fn stdin_nothing(_: &[String]) -> io::Result<()> {
    show("nothing", io::stdin().read(&mut []));
    say("written before reading", 1);
    Ok(())
}

fn stdin_not_text(_: &[String]) -> io::Result<()> {
    let mut bytes = Vec::new();
    show("read", io::stdin().read_to_end(&mut bytes));
    say("bytes", digest(&bytes));
    Ok(())
}

fn stdout_bytes(_: &[String]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(b"text\0\xff\xfe\n")?;
    output.flush()?;
    show("nothing", output.write(b""));
    Ok(())
}

fn stdout_large(_: &[String]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in 0..5_000 {
        writeln!(output, "{line:020}")?;
    }
    Ok(())
}

fn stdout_not_flushed(_: &[String]) -> io::Result<()> {
    print!("no end of line");
    Ok(())
}

fn stderr(_: &[String]) -> io::Result<()> {
    eprintln!("to stderr");
    io::stderr().write_all(&[b'x'; 10_000])?;
    println!("to stdout");
    Ok(())
}

fn terminal(_: &[String]) -> io::Result<()> {
    say("terminals", (io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()));
    Ok(())
}

fn buffer_lines(_: &[String]) -> io::Result<()> {
    for line in BufReader::with_capacity(4, File::open(at("lines.txt"))?).lines() {
        show("line", line);
    }
    Ok(())
}

fn buffer_lines_endings(_: &[String]) -> io::Result<()> {
    fs::write(at("mixed"), "one\r\ntwo\n\nthree\rfour")?;
    for line in BufReader::new(File::open(at("mixed"))?).lines() {
        show("line", line);
    }
    fs::write(at("mixed"), b"good\n\xff\nafter")?;
    for line in BufReader::new(File::open(at("mixed"))?).lines() {
        show("line", line);
    }
    Ok(())
}

fn buffer_writer(_: &[String]) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(7, File::create(at("new"))?);
    for turn in 0..20 {
        write!(writer, "{turn} ")?;
    }
    show("not yet all", fs::read(at("new")).map(|bytes| bytes.len() < 50));
    show("flush", writer.flush());
    show("content", fs::read_to_string(at("new")));
    Ok(())
}

fn buffer_seek(_: &[String]) -> io::Result<()> {
    fs::write(at("large"), pattern(50_000))?;
    let mut reader = BufReader::new(File::open(at("large"))?);
    let mut some = [0; 5];
    for to in [SeekFrom::Start(10_000), SeekFrom::Current(-5), SeekFrom::End(-5), SeekFrom::Current(100)] {
        show(&format!("{to:?}"), reader.seek(to));
        show("read", reader.read(&mut some));
        say("some", some);
    }
    Ok(())
}

fn buffer_split(_: &[String]) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(at("lines.txt"))?);
    let mut part = Vec::new();
    while reader.read_until(b'e', &mut part)? > 0 {
        say("part", String::from_utf8_lossy(&part));
        part.clear();
    }
    Ok(())
}

fn buffer_take_chain(_: &[String]) -> io::Result<()> {
    let mut text = String::new();
    let (one, two) = (File::open(at("text.txt"))?, File::open(at("lines.txt"))?);
    show("read", one.take(3).chain(two.take(4)).read_to_string(&mut text));
    say("content", text);
    Ok(())
}
