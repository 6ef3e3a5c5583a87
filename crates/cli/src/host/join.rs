//! `mizar host join`: a host gets its first certificate.

use crate::output;
use anyhow::{Context, Result, bail};
use mizar_identity::enrol::{self, Join, Signed};
use mizar_identity::pki::Request;
use mizar_identity::tls::Protocol;
use mizar_identity::token::Token;
use mizar_identity::{Connector, Credentials, Identity, Trust};
use mizar_vpc::Name;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Which host, and where its files go.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What `mizar host token` has printed; a hyphen reads it from standard input, where other
    /// users of this machine do not see it
    token: String,
    /// This host's name
    #[arg(long)]
    name: Name,
    /// Folder for host.pem and ca.crt
    #[arg(long, default_value = "/etc/mizar", value_name = "FOLDER")]
    dir: PathBuf,
}

const EXAMPLES: &str = "\
The key is made here and never leaves this host. The controller is believed by the fingerprint of
its CA, which is in the token.

Examples:
  mizar host join TOKEN --name h4
  mizar host join - --name h4 --dir /etc/mizar < token";

pub(super) async fn run(args: &Args) -> Result<()> {
    let Args { token, name, dir } = args;
    let token = if token == "-" { piped()? } else { token.clone() };
    let token: Token = token.parse()?;
    token.check(name, SystemTime::now())?;
    let (own, ca) = (dir.join("host.pem"), dir.join("ca.crt"));
    let who = Identity::Host(name.clone());
    // Before the token is spent.
    make_room(dir, &own, &who)?;
    let request = Request::new()?;
    let connector = Connector::joining(&token.controller, token.authority, Protocol::Http1)?;
    let join = Join {
        host: name.clone(),
        token: token.id.clone(),
        secret: token.secret.reveal(),
        request: request.pem().to_owned(),
    };
    let Signed { chain, in_fleet } = enrol::join(&connector, &join).await?;
    let trust = Trust::pinned(&chain, token.authority)?;
    let issued = request.accept(&chain, &who, &trust, SystemTime::now())?;
    trust.write(&ca)?;
    Credentials::write(&own, &issued)?;
    tell(name, &token, &own, &ca, in_fleet)
}

fn tell(name: &Name, token: &Token, own: &Path, ca: &Path, in_fleet: bool) -> Result<()> {
    let (own, ca, controller) = (own.display(), ca.display(), &token.controller);
    let operator = if in_fleet {
        String::new()
    } else {
        format!(
            "\n\nThe fleet has no host {name} yet. An operator makes it, with this host's address \
             in the underlay:\n  \
             echo '{{kind: Host, metadata: {{name: {name}}}, spec: {{underlay: ADDRESS}}}}' | \
             mizar apply -f -"
        )
    };
    output::print(&format!(
        "host {name} has joined: its key and certificate are in {own}, its CA is in {ca}\n\n\
         Next, on this host:\n  \
         mizar agent --host {name} --nic NIC --controller {controller} \\\n      \
         --credentials {own} --ca {ca}{operator}"
    ))
}

/// Refuses where the files could not be written, or another's would be overwritten.
fn make_room(dir: &Path, own: &Path, who: &Identity) -> Result<()> {
    let cannot = || format!("cannot write into {}; nothing was asked for", dir.display());
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.with_context(cannot)?;
    let probe = dir.join(format!(".mizar-join-{}", std::process::id()));
    fs::write(&probe, "").with_context(cannot)?;
    fs::remove_file(&probe).with_context(cannot)?;
    match Credentials::load(own) {
        Ok(found) if found.certificate().identity() != who => bail!(
            "{} is the certificate of {}, and this is {who}: remove it, or name another folder \
             with --dir; nothing was asked for",
            own.display(),
            found.certificate().identity()
        ),
        _ => Ok(()),
    }
}

fn piped() -> Result<String> {
    std::io::read_to_string(std::io::stdin()).context("cannot read the token from standard input")
}
