//! Defects that can be put into a run, to see that they are found.

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Defect {
    /// Nothing.
    #[default]
    None,
    /// A host forgets the generations of the locations that it has learned.
    ForgottenGenerations,
    /// An agent applies updates wherever they start from.
    UncheckedUpdates,
    /// A host does not forget a location that is said to be wrong.
    DeafToInvalidations,
    /// A bouncer keeps the first host that it was told of an endpoint.
    StaleBouncers,
    /// A host that has answered once is believed to live for ever.
    ImmortalHosts,
    /// Tables are looked up without the VNI.
    SharedKeys,
    /// An agent acknowledges the endpoints that it bounces for before it has their rows.
    EarlyAcks,
    /// Whoever forges has the keys of the VPC.
    LeakedKeys,
    /// The programs of another layout are replaced before tables are as they must be.
    HastyTakeovers,
}

impl Defect {
    /// All that are defects.
    pub const ALL: [Self; 9] = [
        Self::ForgottenGenerations,
        Self::UncheckedUpdates,
        Self::DeafToInvalidations,
        Self::StaleBouncers,
        Self::ImmortalHosts,
        Self::SharedKeys,
        Self::EarlyAcks,
        Self::LeakedKeys,
        Self::HastyTakeovers,
    ];
}
