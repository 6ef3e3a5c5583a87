//! Every role, verb and kind.

use super::*;
use crate::testing::identity;

/// One letter a verb, in the order of `Verb::ALL` (read, create, update, delete, connect, renew):
/// what is written may be done, `-` may not.
type Row = (Kind, &'static str);

fn check(who: &str, case: &str, rows: &[Row], action: impl Fn(Verb, Kind) -> Action<'static>) {
    let who = identity(who);
    for kind in Kind::ALL {
        let row = rows.iter().find(|(of, _)| *of == kind).map_or("------", |(_, row)| row);
        for (verb, letter) in Verb::ALL.into_iter().zip(row.chars()) {
            let allowed = allows(&who, &action(verb, kind));
            assert_eq!(allowed.is_ok(), letter != '-', "{who}, {case}: {verb} {kind}: {allowed:?}");
        }
    }
}

/// Lives as long as the test's table.
fn leaked(name: &str) -> &'static Name {
    Box::leak(Box::new(name.parse().unwrap()))
}

fn granted() -> &'static [HostPattern] {
    Box::leak(Box::new(["h1".parse().unwrap(), "rack1-*".parse().unwrap()]))
}

const ALL: [Row; 13] = [
    (Kind::Tenant, "rcudxn"),
    (Kind::Host, "rcudxn"),
    (Kind::Vpc, "rcudxn"),
    (Kind::Network, "rcudxn"),
    (Kind::Endpoint, "rcudxn"),
    (Kind::SlotMap, "rcudxn"),
    (Kind::Token, "rcudxn"),
    (Kind::Certificate, "rcudxn"),
    (Kind::Stream, "rcudxn"),
    (Kind::Audit, "rcudxn"),
    (Kind::Metrics, "rcudxn"),
    (Kind::Store, "rcudxn"),
    (Kind::Table, "rcudxn"),
];

#[test]
fn an_operator_may_do_everything() {
    for who in ["operator/alice", "operator/local"] {
        check(who, "nobody's", &ALL, Action::new);
        let acme = leaked("acme");
        check(who, "a tenant's", &ALL, |verb, kind| Action::new(verb, kind).of(acme));
    }
}

#[test]
fn a_tenant_may_do_everything_to_its_vpcs_on_granted_hosts() {
    let own = [
        (Kind::Tenant, "r-----"),
        (Kind::Vpc, "rcud--"),
        (Kind::Network, "rcud--"),
        (Kind::Endpoint, "rcud--"),
    ];
    for host in ["h1", "rack1-h7"] {
        let (acme, host) = (leaked("acme"), leaked(host));
        check("tenant/acme/bob", "own, on a granted host", &own, |verb, kind| {
            Action::new(verb, kind).of(acme).on(host).granted(granted())
        });
    }
}

#[test]
fn a_tenant_may_look_and_take_away_but_not_put_on_other_hosts() {
    let own = [
        (Kind::Tenant, "r-----"),
        (Kind::Vpc, "rcud--"),
        (Kind::Network, "rcud--"),
        (Kind::Endpoint, "r--d--"),
    ];
    let (acme, h2) = (leaked("acme"), leaked("h2"));
    check("tenant/acme/bob", "own, on another host", &own, |verb, kind| {
        Action::new(verb, kind).of(acme).on(h2).granted(granted())
    });
    check("tenant/acme/bob", "own, nothing granted", &own, |verb, kind| {
        Action::new(verb, kind).of(acme).on(h2)
    });
    check("tenant/acme/bob", "own, on no host", &own, |verb, kind| {
        Action::new(verb, kind).of(acme).granted(granted())
    });
}

#[test]
fn a_tenant_may_do_nothing_to_what_is_anothers_or_nobodys() {
    let (globex, h1) = (leaked("globex"), leaked("h1"));
    check("tenant/acme/bob", "another's", &[], |verb, kind| {
        Action::new(verb, kind).of(globex).on(h1).granted(granted())
    });
    check("tenant/acme/bob", "nobody's", &[], |verb, kind| {
        Action::new(verb, kind).on(h1).granted(granted())
    });
    check("tenant/acme/globex", "its user's name is no tenant", &[], |verb, kind| {
        Action::new(verb, kind).of(globex).on(h1).granted(granted())
    });
}

#[test]
fn an_agent_may_have_its_own_stream_and_certificate_only() {
    let own = [(Kind::Certificate, "-----n"), (Kind::Stream, "----x-")];
    let (acme, h1, h2) = (leaked("acme"), leaked("h1"), leaked("h2"));
    check("host/h1", "its own", &own, |verb, kind| Action::new(verb, kind).on(h1));
    check("host/h1", "a tenant's on it", &own, |verb, kind| {
        Action::new(verb, kind).of(acme).on(h1).granted(granted())
    });
    check("host/h1", "another host's", &[], |verb, kind| Action::new(verb, kind).on(h2));
    check("host/h1", "no host's", &[], Action::new);
}

#[test]
fn a_monitor_may_read_metrics_and_nothing_else() {
    let (acme, h1) = (leaked("acme"), leaked("h1"));
    let metrics = [(Kind::Metrics, "r-----")];
    check("monitor/prometheus", "nobody's", &metrics, Action::new);
    check("monitor/prometheus", "a host's", &metrics, |verb, kind| Action::new(verb, kind).on(h1));
    check("monitor/acme", "its name is no tenant", &metrics, |verb, kind| {
        Action::new(verb, kind).of(acme).on(h1).granted(granted())
    });
}

#[test]
fn a_controller_may_do_nothing_to_another() {
    let h1 = leaked("h1");
    check("controller", "nobody's", &[], Action::new);
    check("controller", "a host's", &[], |verb, kind| Action::new(verb, kind).on(h1));
}

#[test]
fn a_refusal_says_who_what_and_who_might() {
    let said =
        |who: &str, action: &Action<'_>| allows(&identity(who), action).unwrap_err().to_string();
    let (globex, acme, h1, h9) = (leaked("globex"), leaked("acme"), leaked("h1"), leaked("h9"));
    let update = Action::new(Verb::Update, Kind::Vpc);
    assert_eq!(
        said("tenant/acme/bob", &update.of(globex)),
        "tenant/acme/bob may not update vpc: it takes an operator or the tenant that has it"
    );
    assert_eq!(said("tenant/acme/bob", &update.of(globex)), said("tenant/acme/bob", &update));
    let elsewhere = Action::new(Verb::Create, Kind::Endpoint).of(acme).on(h9).granted(granted());
    assert_eq!(
        said("tenant/acme/bob", &elsewhere),
        "tenant/acme/bob may not create endpoint of tenant acme on host h9: it takes an operator, \
         or a host granted to the tenant: h1, rack1-*"
    );
    assert_eq!(
        said("host/h9", &Action::new(Verb::Connect, Kind::Stream).on(h1)),
        "host/h9 may not connect stream on host h1: it takes host h1 itself, or an operator"
    );
    let metrics = Action::new(Verb::Read, Kind::Metrics);
    for who in ["tenant/acme/bob", "host/h9"] {
        let needed = "it takes an operator or a monitor";
        assert_eq!(said(who, &metrics), format!("{who} may not read metrics: {needed}"));
    }
    assert_eq!(
        said("monitor/prometheus", &Action::new(Verb::Read, Kind::Host)),
        "monitor/prometheus may not read host: it takes an operator; a monitor reads metrics"
    );
}
