//! A program whose lines are read as they come.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A running program in a process group of its own; dropping it ends the group.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts it. `line` is called with each line of its output, on threads that do nothing else, so that the moment of
    /// the call is that of the line.
    pub fn start(command: &mut Command, line: impl Fn(&str) + Clone + Send + 'static) -> Result<Self> {
        let described = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {described}; is it installed?"))?;
        read(child.stdout.take().context("its output")?, line.clone());
        read(child.stderr.take().context("its errors")?, line);
        Ok(Self(child))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

fn read(output: impl Read + Send + 'static, line: impl Fn(&str) + Send + 'static) {
    thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut text = vec![];
        while lines.read_until(b'\n', &mut text).is_ok_and(|length| length > 0) {
            line(String::from_utf8_lossy(&text).trim_end());
            text.clear();
        }
    });
}
