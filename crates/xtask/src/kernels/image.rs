//! What machines boot from: an archive with `init.sh`, the kernel's modules, and programs of this
//! machine with their libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::debian::{Debian, Unpacked};
use crate::shell;

/// What a machine does when it has booted.
const INIT: &str = include_str!("init.sh");
/// What two machines ask the controller for.
const PAIR: &str = include_str!("pair.yaml");

/// Programs of this machine that tests, the lab's demo and `init.sh` run.
const TOOLS: [&str; 9] =
    ["curl", "ethtool", "ip", "iperf3", "mount", "nsenter", "ping", "tc", "unshare"];

/// Modules that are needed, with what they need.
const MODULES: [&str; 7] =
    ["bridge", "cls_bpf", "sch_ingress", "sch_tbf", "veth", "virtio_net", "virtio_pci"];

/// Tests of the agent that run in machines.
const TESTS: [&str; 2] = ["differential", "host"];

/// Programs as they are built here, by their names in a machine.
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Builds `mizar` and the tests.
    pub(crate) fn build() -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--package", "mizar-cli"])?)?;
        let mut programs = BTreeMap::new();
        let mizar = shell::target_folder()?.join("debug/mizar");
        programs.insert("usr/bin/mizar".to_owned(), stripped(&mizar, "mizar")?);
        for test in TESTS {
            let mut cargo =
                shell::cargo(&["test", "--package", "mizar-agent", "--test", test, "--no-run"])?;
            let output = cargo.output().context("cannot start `cargo test`")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "the test {test} does not build: {said}");
            let path = said.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')'));
            let (path, _) = path.with_context(|| format!("cargo does not say where {test} is"))?;
            let path = shell::workspace()?.join(path);
            programs.insert(format!("root/{test}"), stripped(&path, test)?);
        }
        Ok(Self(programs))
    }

    /// The archive for a kernel; its path.
    pub(crate) fn image(&self, debian: &Debian, kernel: &Unpacked) -> Result<PathBuf> {
        let path = folder()?.join(format!("{}.cpio", kernel.release));
        let file = fs::File::create(&path).with_context(|| format!("write {}", path.display()))?;
        let mut archive = Archive { file: std::io::BufWriter::new(file), names: BTreeSet::new() };
        archive.file("init", INIT.as_bytes())?;
        archive.file("pair.yaml", PAIR.as_bytes())?;
        archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")?;
        archive.file("bin/busybox", &read(&debian.busybox())?)?;
        for (name, path) in &self.0 {
            archive.program(name, path)?;
        }
        for tool in TOOLS {
            archive.program(&format!("usr/bin/{tool}"), &find(tool)?)?;
        }
        let mut order = Vec::new();
        for module in MODULES {
            insert(&mut order, module, &kernel.modules)?;
        }
        for (name, path) in &order {
            archive.file(&format!("modules/{name}.ko"), &module(path)?)?;
        }
        let names: Vec<_> = order.iter().map(|(name, _)| name.as_str()).collect();
        archive.file("modules/order", names.join("\n").as_bytes())?;
        archive.finish().with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Where everything is that is unpacked or made for machines.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(shell::target_folder()?.join("kernels"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// The program without what only debuggers read, which is most of it.
fn stripped(program: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(name);
    shell::run(Command::new("strip").arg("-o").arg(&path).arg(program))?;
    Ok(path)
}

fn find(program: &str) -> Result<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(program));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("there is no program {program} for the machine"))
}

/// Adds a module to those that are loaded, in this order, after those that it needs. One that the
/// kernel has built in is no module.
fn insert(order: &mut Vec<(String, PathBuf)>, name: &str, modules: &Path) -> Result<()> {
    if order.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let Some(path) = search(modules, name)? else { return Ok(()) };
    let bytes = module(&path)?;
    let needs = bytes.split(|byte| *byte == 0).find_map(|word| word.strip_prefix(b"depends="));
    let needs = String::from_utf8_lossy(needs.unwrap_or_default()).into_owned();
    for needed in needs.split(',').filter(|needed| !needed.is_empty()) {
        insert(order, needed, modules)?;
    }
    order.push((name.to_owned(), path));
    Ok(())
}

/// The file of a module in a folder or in those within.
fn search(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = search(&path, name)? {
                return Ok(Some(found));
            }
        } else if let Some((stem, _)) = entry.file_name().to_string_lossy().split_once(".ko")
            && stem.replace('-', "_") == name
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A module's bytes, unpacked.
fn module(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return read(path);
    }
    let output = Command::new("busybox").arg("unxz").arg("-c").arg(path).output();
    let output = output.context("cannot start `busybox unxz`")?;
    ensure!(output.status.success(), "{} cannot be unpacked", path.display());
    Ok(output.stdout)
}

/// An archive in the form that the kernel boots from: cpio's, with numbers as text ("newc").
struct Archive<W> {
    file: W,
    names: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// A program with the libraries that it is linked to.
    fn program(&mut self, name: &str, path: &Path) -> Result<()> {
        self.file(name, &read(path)?)?;
        let output = Command::new("ldd").arg(path).output().context("cannot start `ldd`")?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            if !self.names.contains(library.trim_start_matches('/')) {
                self.file(library.trim_start_matches('/'), &read(Path::new(&library))?)?;
            }
        }
        Ok(())
    }

    /// A file that can be run, and the folders that it is in.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.names.insert(folder.to_owned()) {
                self.entry(folder, 0o040_755, &[])?;
            }
        }
        self.names.insert(name.to_owned());
        self.entry(name, 0o100_755, bytes).with_context(|| format!("write {name}"))
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let number = self.names.len() as u32;
        let size = u32::try_from(bytes.len()).context("it is too large for an archive")?;
        let length = name.len() as u32 + 1;
        write!(self.file, "070701")?;
        // Number, mode, owner and group, links, time, size, devices, length of the name, checksum.
        for field in [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
            write!(self.file, "{field:08x}")?;
        }
        self.file.write_all(name.as_bytes())?;
        self.file.write_all(&[0; 4][..1 + padding(110 + name.len() + 1)])?;
        self.file.write_all(bytes)?;
        self.file.write_all(&[0; 4][..padding(bytes.len())])?;
        Ok(())
    }

    fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.file.flush()?;
        Ok(self.file)
    }
}

/// Bytes up to the next multiple of four.
fn padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

/// The files that `ldd` says a program is linked to.
fn libraries(said: &str) -> Vec<String> {
    let path = |line: &str| {
        let (path, _) = line.rsplit_once(" (0x")?;
        let path = path.rsplit_once("=> ").map_or(path, |(_, path)| path).trim();
        path.starts_with('/').then(|| path.to_owned())
    };
    said.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_says_is_read() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f15)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f16)\n\tnot a dynamic executable\n";
        let found = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(said), found);
    }

    /// `busybox cpio` is an independent reader of the format.
    #[test]
    fn an_archive_is_read_by_others() {
        let folder = std::env::temp_dir().join(format!("mizar-cpio-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut archive = Archive { file: Vec::new(), names: BTreeSet::new() };
        archive.file("usr/bin/a", b"five!").unwrap();
        archive.file("usr/bin/abc", b"").unwrap();
        fs::write(folder.join("archive"), archive.finish().unwrap()).unwrap();
        let mut cpio = Command::new("busybox");
        let extract = cpio.args(["cpio", "-idF", "archive"]).current_dir(&folder).output().unwrap();
        assert!(extract.status.success(), "{extract:?}");
        assert_eq!(fs::read(folder.join("usr/bin/a")).unwrap(), b"five!");
        assert_eq!(fs::read(folder.join("usr/bin/abc")).unwrap(), b"");
        fs::remove_dir_all(folder).unwrap();
    }
}
