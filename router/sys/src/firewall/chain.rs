//! A chain of the mesh in `iptables` or `ip6tables`, and the jump to it from a built-in chain.

use std::io;

use super::{Changed, change, feed, one_line, run};
use crate::SysError;

/// Chain in one table of one program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'a> {
    /// `iptables` or `ip6tables`.
    pub(super) program: &'static str,
    /// `nat` or `filter`.
    pub(super) table: &'static str,
    /// Name of the chain, at most 28 bytes.
    pub(super) name: &'a str,
    /// Built-in chain with the jump.
    pub(super) from: &'static str,
    pub(super) place: JumpPosition,
}

/// Position of the jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JumpPosition {
    /// Before all others when it is inserted; later only before a rule that drops everything.
    First,
    /// Always before all others.
    Front,
    /// Behind all others, so that these decide first; but before a rule that drops everything.
    Last,
}

impl Chain<'_> {
    /// Returns true if the program and its table are available.
    pub(super) fn is_usable(&self) -> Result<bool, SysError> {
        Ok(self.list_from()?.is_some())
    }

    /// Returns the present rules and the jump as text; `None` if one of the two is missing, or the jump is not
    /// reached.
    pub(super) fn list(&self) -> Result<Option<String>, SysError> {
        let from = self.list_from()?.unwrap_or_default();
        if self.jumps(&from).len() != 1 || self.target(&from) != JumpTarget::InPlace {
            return Ok(None);
        }
        self.rules()
    }

    /// Sets the rules of the chain (without `-A` and the name), and puts the jump in its place.
    pub(super) fn put(&self, rules: &[String]) -> Result<(), SysError> {
        let name = self.name;
        let rules: Vec<String> = rules.iter().map(|r| format!("-A {name} {r}\n")).collect();
        // One transaction: the chain is never incomplete.
        let text = format!(
            "*{}\n:{name} - [0:0]\n{}COMMIT\n",
            self.table,
            rules.concat()
        );
        let program = format!("{}-restore", self.program);
        feed(&program, &["-w", "5", "--noflush"], &text)?;
        self.jump()
    }

    /// Makes these the rules of the chain, as the program lists them; without any, removes it. Repairs changes made by
    /// others.
    pub(super) fn keep(&self, rules: &[String]) -> Result<Changed, SysError> {
        if !self.is_usable()? {
            return Ok(Changed::Absent);
        }
        if rules.is_empty() {
            return Ok(match self.remove()? {
                true => Changed::Yes,
                false => Changed::No,
            });
        }
        let wanted: Vec<String> = rules
            .iter()
            .map(|rule| format!("-A {} {rule}", self.name))
            .collect();
        let listing = self.list()?.unwrap_or_default();
        let there = listing.lines().filter(|line| line.starts_with("-A "));
        if there.eq(wanted.iter().map(String::as_str)) {
            return Ok(Changed::No);
        }
        self.put(rules)?;
        Ok(Changed::Yes)
    }

    /// Removes chain and jumps. Returns true if there were any.
    pub(super) fn remove(&self) -> Result<bool, SysError> {
        let Some(from) = self.list_from()? else {
            return Ok(false);
        };
        let jumps = self.jumps(&from);
        for position in jumps.iter().rev() {
            self.change(&["-D", self.from, &position.to_string()])?;
        }
        let is_there = self.rules()?.is_some();
        if is_there {
            self.change(&["-F", self.name])?;
            self.change(&["-X", self.name])?;
        }
        Ok(is_there || !jumps.is_empty())
    }

    /// Removes all rules of the chain. Returns false if there is no such chain, or no program.
    pub(super) fn flush(&self) -> Result<bool, SysError> {
        match run(self.program, &["-t", self.table, "-F", self.name]) {
            Ok(output) => Ok(output.status.success()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(SysError::new(format!("run {}", self.program), e)),
        }
    }

    fn jump(&self) -> Result<(), SysError> {
        let from = self.list_from()?.unwrap_or_default();
        let mut old = self.jumps(&from);
        match self.target(&from) {
            JumpTarget::InPlace => drop(old.drain(..1)),
            JumpTarget::End => self.change(&["-A", self.from, "-j", self.name])?,
            JumpTarget::At(position) => {
                self.change(&["-I", self.from, &position.to_string(), "-j", self.name])?;
                for behind in old.iter_mut().filter(|old| **old >= position) {
                    *behind += 1;
                }
            }
        }
        for position in old.iter().rev() {
            self.change(&["-D", self.from, &position.to_string()])?;
        }
        Ok(())
    }

    /// Returns the position for the jump, given a listing of the built-in chain.
    fn target(&self, from: &str) -> JumpTarget {
        let first = self.jumps(from).first().copied();
        match self.place {
            JumpPosition::First => match (first, end_of_all(from)) {
                (Some(jump), Some(end)) if jump > end => JumpTarget::At(1),
                (Some(_), _) => JumpTarget::InPlace,
                (None, _) => JumpTarget::At(1),
            },
            JumpPosition::Front => match first {
                Some(1) => JumpTarget::InPlace,
                _ => JumpTarget::At(1),
            },
            JumpPosition::Last => match (first, end_of_all(from)) {
                (Some(jump), Some(end)) if jump > end => JumpTarget::At(end),
                (Some(_), _) => JumpTarget::InPlace,
                (None, Some(end)) => JumpTarget::At(end),
                (None, None) => JumpTarget::End,
            },
        }
    }

    /// Returns the positions, from 1, of the jumps to the chain.
    fn jumps(&self, from: &str) -> Vec<usize> {
        let target = format!("-A {} -j {}", self.from, self.name);
        let ours = rules_of(from)
            .enumerate()
            .filter(|(_, line)| *line == target);
        ours.map(|(index, _)| index + 1).collect()
    }

    /// Returns the rules of the chain as listed by the program; `None` without the chain.
    fn rules(&self) -> Result<Option<String>, SysError> {
        let output = self.run(&["-S", self.name])?;
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(output.status.success().then_some(listing))
    }

    /// Lists the built-in chain; `None` if there is no such program or the kernel has no such table.
    fn list_from(&self) -> Result<Option<String>, SysError> {
        let output = match run(self.program, &["-t", self.table, "-S", self.from]) {
            Ok(output) => output,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(SysError::new(format!("run {}", self.program), e)),
        };
        if output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // Exit code 3: the kernel does not know the table.
        if output.status.code() == Some(3) && !said.contains("Permission denied") {
            return Ok(None);
        }
        let what = format!("read the chain {} of {}", self.from, self.program);
        Err(SysError::other(what, one_line(&said)))
    }

    fn run(&self, arguments: &[&str]) -> Result<std::process::Output, SysError> {
        run(self.program, &[&["-t", self.table], arguments].concat())
            .map_err(|e| SysError::new(format!("run {}", self.program), e))
    }

    fn change(&self, arguments: &[&str]) -> Result<(), SysError> {
        change(self.program, &[&["-t", self.table], arguments].concat())
    }
}

/// Position for the jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JumpTarget {
    InPlace,
    At(usize),
    End,
}

fn rules_of(listing: &str) -> impl Iterator<Item = &str> {
    listing.lines().filter(|line| line.starts_with("-A "))
}

/// Returns the position, from 1, of the first rule that drops or rejects everything.
fn end_of_all(listing: &str) -> Option<usize> {
    let is_end = |line: &str| {
        let mut words = line.split(' ').skip(2);
        words.next() == Some("-j") && matches!(words.next(), Some("DROP" | "REJECT"))
    };
    rules_of(listing).position(is_end).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Chain<'_> = Chain {
        program: "iptables",
        table: "filter",
        name: "mesh-expose-mesh",
        from: "FORWARD",
        place: JumpPosition::Last,
    };

    fn listing(rules: &[&str]) -> String {
        let rules: Vec<String> = rules.iter().map(|r| format!("-A FORWARD {r}\n")).collect();
        format!("-P FORWARD DROP\n{}", rules.concat())
    }

    #[test]
    fn the_jump_is_behind_other_rules_and_before_a_final_drop() {
        let ours = "-j mesh-expose-mesh";
        let docker = "-j DOCKER-USER";
        let some = "-i eth1 -j DROP";
        let rest = "-j REJECT --reject-with icmp-host-prohibited";
        for (rules, expected) in [
            (&[][..], JumpTarget::End),
            (&[docker, some], JumpTarget::End),
            (&[docker, some, rest], JumpTarget::At(3)),
            (&[docker, ours, some], JumpTarget::InPlace),
            (&[docker, ours, rest], JumpTarget::InPlace),
            (&[rest, ours], JumpTarget::At(1)),
            (&["-j DROP"], JumpTarget::At(1)),
            (&["-j mesh-expose-mesh2"], JumpTarget::End),
        ] {
            assert_eq!(CHAIN.target(&listing(rules)), expected, "{rules:?}");
        }
        let first = Chain {
            place: JumpPosition::First,
            ..CHAIN
        };
        assert_eq!(first.target(&listing(&[docker])), JumpTarget::At(1));
        assert_eq!(first.target(&listing(&[docker, ours])), JumpTarget::InPlace);
        assert_eq!(first.target(&listing(&[rest, ours])), JumpTarget::At(1));
        let front = Chain {
            place: JumpPosition::Front,
            ..CHAIN
        };
        assert_eq!(front.target(&listing(&[docker, ours])), JumpTarget::At(1));
        assert_eq!(front.target(&listing(&[ours, docker])), JumpTarget::InPlace);
        assert_eq!(CHAIN.jumps(&listing(&[ours, docker, ours])), [1, 3]);
    }
}
