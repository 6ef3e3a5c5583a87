//! The controller that commands ask.

mod config;
mod expiry;
mod missing;

pub(crate) use config::{Config, Context};
pub(crate) use missing::found;

use crate::exit::Status;
use anyhow::{Context as _, Result};
use mizar_controller::client::Client;
use mizar_identity::tls::Protocol;
use mizar_identity::{Address, Connector, Credentials, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a controller of this machine listens.
pub(crate) const SOCKET: &str = "/run/mizar/controller.sock";

/// Which controller, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Controller")]
pub(crate) struct Remote {
    /// Where the controller is: unix:PATH or https://HOST:PORT
    #[arg(long, env = "MIZAR_CONTROLLER", value_name = "ADDRESS")]
    controller: Option<Address>,
    /// The context of the config file to use, in place of the current one
    #[arg(long, env = "MIZAR_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Certificates of the CA that the controller is believed by
    #[arg(long, env = "MIZAR_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own key and certificate, in one file
    #[arg(long, env = "MIZAR_CREDENTIALS", value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl Remote {
    /// A client of the controller.
    ///
    /// # Errors
    /// No controller is known, or files are missing or unusable; says what to do.
    pub(crate) fn client(&self) -> Result<Client> {
        let context = self.context()?;
        if let Address::Unix(socket) = &context.controller {
            return Ok(Client::new(Connector::local(socket)));
        }
        let (own, trust) = self.proofs(&context)?;
        Ok(Client::new(connector(&context.controller, &own, &trust, Protocol::Http)?))
    }

    /// Whether a controller is named, configured, or on this machine.
    ///
    /// # Errors
    /// The config file cannot be read.
    pub(crate) fn is_known(&self) -> Result<bool> {
        let is_named = self.controller.is_some() || self.context.is_some();
        Ok(is_named || Config::load()?.current.is_some() || Path::new(SOCKET).exists())
    }

    /// Where the controller is, as whom it is asked, and whose controllers are believed.
    ///
    /// # Errors
    /// As [`Self::client`], or it is a local one, where nobody needs a certificate.
    pub(crate) fn own(&self) -> Result<(Address, Arc<Credentials>, Trust)> {
        let context = self.context()?;
        if matches!(context.controller, Address::Unix(_)) {
            return Err(Status::Failed.error(format!(
                "nobody shows a certificate to {}: name a controller by https://HOST:PORT, with \
                 --controller or --context",
                context.controller
            )));
        }
        let (own, trust) = self.proofs(&context)?;
        Ok((context.controller, own, trust))
    }

    fn proofs(&self, context: &Context) -> Result<(Arc<Credentials>, Trust)> {
        let address = &context.controller;
        let ca = file(self.ca.as_ref().or(context.ca.as_ref()), "ca", address)?;
        let own = self.credentials.as_ref().or(context.credentials.as_ref());
        let own = file(own, "credentials", address)?;
        let trust = Trust::load(ca).context("cannot read the CA's certificates")?;
        let own = Credentials::load(own).context("cannot read the own key and certificate")?;
        expiry::warn(&own);
        Ok((Arc::new(own), trust))
    }

    /// The command line comes first, then the config file, then this machine's own controller.
    fn context(&self) -> Result<Context> {
        let config = Config::load()?;
        if let Some(controller) = &self.controller {
            let named = self.context.as_deref().map(|name| config.find(name)).transpose()?;
            let rest = named.cloned().unwrap_or_else(|| Context::at(controller.clone()));
            return Ok(Context { controller: controller.clone(), ..rest });
        }
        let name = self.context.as_deref().or(config.current.as_deref());
        if let Some(name) = name {
            return config.find(name).cloned();
        }
        if Path::new(SOCKET).exists() {
            return Ok(Context::at(Address::Unix(SOCKET.into())));
        }
        Err(Status::Failed.error(format!(
            "no controller is configured, and none listens on {SOCKET}: name one with \
             --controller, with $MIZAR_CONTROLLER, or once for all with `mizar config set-context \
             NAME --controller ADDRESS`"
        )))
    }
}

/// What dials a controller over TLS.
///
/// # Errors
/// The CA's certificates are unusable.
pub(crate) fn connector(
    address: &Address,
    own: &Arc<Credentials>,
    trust: &Trust,
    protocol: Protocol,
) -> Result<Connector> {
    Ok(Connector::new(address, Some(own.clone()), trust, protocol)?)
}

fn file<'a>(path: Option<&'a PathBuf>, option: &str, address: &Address) -> Result<&'a PathBuf> {
    path.ok_or_else(|| {
        Status::Failed.error(format!(
            "{address} takes a certificate, and --{option} is missing: give it, or put it into the \
             context with `mizar config set-context NAME --controller {address} --{option} FILE`"
        ))
    })
}
