//! Debian's packages, by an apt of our own, so that neither this machine's list of sources nor what
//! is installed on it matters: what a package needs is unpacked with it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// Where packages are, and whose signatures are believed.
const SOURCES: &str = "\
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian-security bookworm-security main
deb http://deb.debian.org/debian bookworm-backports main
";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The suite with a QEMU whose emulation is right: that of bookworm itself breaks cmpxchg16b.
const QEMU_SUITE: &str = "bookworm-backports";

/// A folder with packages unpacked.
pub(crate) struct Debian {
    folder: PathBuf,
}

/// A kernel with its modules.
pub(crate) struct Unpacked {
    /// All of it, as `uname -r` says it.
    pub(crate) release: String,
    /// The kernel.
    pub(crate) image: PathBuf,
    /// The folder with its modules.
    pub(crate) modules: PathBuf,
}

impl Debian {
    /// Whether packages can be had, and run here.
    pub(crate) fn is_possible() -> bool {
        let has_keys = Path::new(KEYS).is_file();
        cfg!(target_arch = "x86_64") && has_keys && shell::has_program("apt-get")
    }

    /// Unpacks QEMU and busybox, if they are not there.
    ///
    /// # Errors
    /// When they cannot be downloaded.
    pub(crate) fn prepare() -> Result<Self> {
        let debian = Self { folder: super::image::folder()? };
        fs::create_dir_all(debian.folder.join("lists/partial")).context("make a folder")?;
        if !debian.busybox().is_file() || !debian.qemu_program().is_file() {
            debian.update()?;
            let install = ["--yes", "--download-only", "--no-install-recommends", "install"];
            let suite = ["--target-release", QEMU_SUITE];
            let names = ["qemu-system-x86", "busybox-static"];
            let archives = debian.folder.join("archives");
            let _ = fs::remove_dir_all(&archives);
            fs::create_dir_all(archives.join("partial")).context("make a folder")?;
            let words = [&suite[..], &install, &names].concat();
            shell::run(debian.apt("apt-get").arg("-q").args(words))?;
            debian.unpack(&archives, &debian.root())?;
        }
        Ok(debian)
    }

    /// The newest kernel of a series that a suite has, unpacked.
    pub(crate) fn kernel(&self, series: &str, suite: &str) -> Result<Unpacked> {
        let root = self.folder.join(series);
        if !root.join("boot").is_dir() {
            self.update()?;
            let name = self.newest(suite)?;
            let archives = self.folder.join("kernel");
            let _ = fs::remove_dir_all(&archives);
            fs::create_dir_all(&archives).context("make a folder")?;
            let mut apt = self.apt("apt-get");
            shell::run(apt.args(["-q", "download", &name]).current_dir(&archives))?;
            self.unpack(&archives, &root)?;
        }
        let image = fs::read_dir(root.join("boot")).context("read the kernel's folder")?;
        let image = image.flatten().map(|entry| entry.path()).find_map(|path| {
            let release = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((path, release))
        });
        let (image, release) = image.with_context(|| format!("no kernel in {}", root.display()))?;
        ensure!(
            release.starts_with(&format!("{series}.")),
            "{suite} has {release}, not {series}: remove {} and correct the list of kernels",
            root.display()
        );
        let modules = root.join("lib/modules").join(&release);
        Ok(Unpacked { release, image, modules })
    }

    /// A command of QEMU, with its own libraries and files.
    ///
    /// # Errors
    /// When the workspace's path cannot stand in a list of paths.
    pub(crate) fn qemu(&self) -> Result<Command> {
        let root = self.root();
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
        let libraries = env::join_paths(libraries.map(|path| root.join(path)));
        // It ends when this process is killed, too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(root.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(libraries.context("the workspace's path has a colon")?);
        command.arg(self.qemu_program());
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(folder));
        }
        command.env("QEMU_MODULE_DIR", root.join("usr/lib/x86_64-linux-gnu/qemu"));
        Ok(command)
    }

    /// A busybox that needs no library.
    pub(crate) fn busybox(&self) -> PathBuf {
        self.root().join("bin/busybox")
    }

    fn qemu_program(&self) -> PathBuf {
        self.root().join("usr/bin/qemu-system-x86_64")
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The package with a suite's newest kernel.
    fn newest(&self, suite: &str) -> Result<String> {
        let mut apt = self.apt("apt-cache");
        apt.arg("-o").arg(format!("APT::Default-Release={suite}"));
        let output = apt.args(["depends", "linux-image-cloud-amd64"]).output();
        let output = output.context("cannot start `apt-cache`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        name.map(str::to_owned).with_context(|| format!("{suite} has no kernel for clouds"))
    }

    fn update(&self) -> Result<()> {
        fs::write(self.folder.join("sources"), SOURCES).context("write a list of sources")?;
        fs::write(self.folder.join("installed"), "").context("write a list of packages")?;
        shell::run(self.apt("apt-get").args(["-q", "update"]))
    }

    /// One of apt's programs, for which nothing is installed.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.folder.join(name).display().to_string();
        for (name, value) in [
            ("Dir::Etc::SourceList", at("sources")),
            ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
            ("Dir::Etc::Trusted", KEYS.to_owned()),
            ("Dir::Etc::Preferences", "/dev/null".to_owned()),
            ("Dir::Etc::PreferencesParts", "/dev/null".to_owned()),
            ("Dir::State::Lists", at("lists")),
            ("Dir::State::Status", at("installed")),
            ("Dir::Cache", at("")),
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command
    }

    /// Unpacks all packages of a folder, as if another one were the root folder.
    fn unpack(&self, archives: &Path, root: &Path) -> Result<()> {
        // What an interrupted run left behind is not taken for the whole.
        let new = self.folder.join("unpacking");
        let _ = fs::remove_dir_all(&new);
        for package in fs::read_dir(archives).context("read the folder of packages")? {
            let package = package.context("read the folder of packages")?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                let mut dpkg = Command::new("dpkg-deb");
                let status = dpkg.arg("--extract").arg(&package).arg(&new).status();
                let status = status.context("cannot start `dpkg-deb`")?;
                ensure!(status.success(), "{} cannot be unpacked", package.display());
            }
        }
        let _ = fs::remove_dir_all(root);
        fs::rename(&new, root).with_context(|| format!("no package in {}", archives.display()))?;
        fs::remove_dir_all(archives).context("remove the packages")
    }
}
