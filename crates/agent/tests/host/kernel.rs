//! The data plane in a real kernel: loaded, pinned, attached in each mode, taken over, removed.

use crate::{stack, world};
use aya::programs::Program;
use mizar_agent::kernel::{Kernel, NicMode, OBJECT, Sizes, memory_by_map};
use mizar_agent::{ModeChoice, RunError, StartError};
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, EndpointKey, Learned, Route};
use mizar_vpc::tables::route_key;
use std::os::unix::fs::PermissionsExt;
use zerocopy::FromZeros;

#[test]
fn maps_at_default_sizes_stay_small() {
    world::enter("kernel::maps_at_default_sizes_stay_small", || async {
        let pins = world::options().pins;
        let (_kernel, _maps) = Kernel::load(&pins, &Sizes::default()).unwrap();
        let sizes = memory_by_map(&pins).unwrap();
        for (map, bytes) in &sizes {
            println!("{map:>16} {bytes:>10}");
        }
        let total: u64 = sizes.values().sum();
        println!("{:>16} {total:>10}", "all");
        assert!(total < 7_600_000, "{total} bytes");
        let row = sizes["ENDPOINTS"] as f64 / f64::from(Sizes::default().endpoints);
        assert!(row < 55.0, "{row} bytes for each endpoint");
    });
}

#[test]
fn maps_at_default_sizes_are_bounded_when_every_row_is_taken() {
    let name = "kernel::maps_at_default_sizes_are_bounded_when_every_row_is_taken";
    world::enter(name, || async {
        let pins = world::options().pins;
        let (_kernel, maps) = Kernel::load(&pins, &Sizes::default()).unwrap();
        // Routes take memory as they come; all others have it from the start.
        let empty = memory_by_map(&pins).unwrap();
        let (endpoint, learned) = (Endpoint::new_zeroed(), Learned::new_zeroed());
        let prefix = "10.0.0.0/24".parse().unwrap();
        let route = |vni| route_key(1 + vni, prefix);
        let endpoints = rows(maps.endpoints.capacity(), key, endpoint);
        let learned = rows(maps.learned.capacity(), key, learned);
        let routes = rows(maps.routes.capacity(), route, Route { network: 1, vpc: 1 });
        assert!(maps.endpoints.put_all(&endpoints).is_empty());
        assert!(learned.iter().all(|(key, row)| maps.learned.put(key, row).is_ok()));
        assert!(maps.routes.put_all(&routes).is_empty());
        let full = memory_by_map(&pins).unwrap();
        for (map, bytes) in &full {
            println!("{map:>16} {:>10} {bytes:>10}", empty[map]);
            assert_eq!(empty[map] < *bytes, *map == "ROUTES", "{map}");
        }
        let total: u64 = full.values().sum();
        println!("{:>16} {:>10} {total:>10}", "all", empty.values().sum::<u64>());
        assert!(total < 25_000_000, "{total} bytes");
        // And not one row more.
        let more = (key(maps.endpoints.capacity()), endpoint);
        assert_eq!(maps.endpoints.put_all(&[more]).len(), 1);
    });
}

/// So many rows with keys of their own.
fn rows<K, V: Copy>(count: u32, key: impl Fn(u32) -> K, row: V) -> Vec<(K, V)> {
    (0..count).map(|number| (key(number), row)).collect()
}

fn key(number: u32) -> EndpointKey {
    EndpointKey::new(1, Address::v4(number.to_be_bytes()))
}

/// The verifier gives up after a million instructions, and takes a millisecond or two for every
/// thousand: at each start of an agent. That of earlier kernels goes through three times as many
/// (docs/kernels.md).
fn most_steps() -> u32 {
    if world::linux() >= (6, 18) { 150_000 } else { 400_000 }
}
/// The kernel gives a program 512 bytes of stack, of which the largest takes so many.
const MOST_STACK: usize = 480;

#[test]
fn the_verifier_goes_through_each_program_in_few_steps() {
    world::enter("kernel::the_verifier_goes_through_each_program_in_few_steps", || async {
        let pins = world::options().pins;
        std::fs::create_dir_all(&pins).unwrap();
        let mut loader = aya::EbpfLoader::new();
        let mut object = loader.default_map_pin_directory(&pins).load(OBJECT).unwrap();
        let stacks = stack::of_functions(OBJECT);
        for (name, program) in object.programs_mut() {
            match program {
                Program::SchedClassifier(classifier) => classifier.load().unwrap(),
                Program::Xdp(xdp) => xdp.load().unwrap(),
                _ => unreachable!("{name} is of another type"),
            }
            let steps = program.info().unwrap().verified_instruction_count().unwrap();
            let stack = stacks[name];
            println!("{name:>16} {steps:>7} {stack:>4}");
            assert!(steps < most_steps(), "{name}: {steps} steps");
            assert!(stack <= MOST_STACK, "{name}: {stack} bytes of stack");
        }
    });
}

#[test]
fn a_taken_over_map_keeps_its_size_and_its_rows() {
    world::enter("kernel::a_taken_over_map_keeps_its_size_and_its_rows", || async {
        let pins = world::options().pins;
        let small = Sizes { ports: 16, ..Sizes::default() };
        let (kernel, maps) = Kernel::load(&pins, &small).unwrap();
        maps.host_index.put(&Address::v4([1, 2, 3, 4]), &7).unwrap();
        drop((kernel, maps));
        let (_kernel, maps) = Kernel::load(&pins, &Sizes::default()).unwrap();
        assert_eq!(maps.ports.capacity(), 16);
        assert_eq!(maps.host_index.get(&Address::v4([1, 2, 3, 4])).unwrap(), Some(7));
    });
}

#[test]
fn the_first_rows_of_an_array_are_those_of_the_smallest_indices() {
    world::enter(
        "kernel::the_first_rows_of_an_array_are_those_of_the_smallest_indices",
        || async {
            let (_kernel, maps) = Kernel::load(&world::options().pins, &Sizes::default()).unwrap();
            for most in [0, 1, 7, 511, 512, 513, 2000] {
                let keys: Vec<u32> =
                    maps.hosts.first(most).unwrap().into_iter().map(|row| row.0).collect();
                assert!(keys.into_iter().eq(0..most as u32), "{most}");
            }
            assert_eq!(maps.hosts.rows().unwrap().len(), maps.hosts.capacity() as usize);
        },
    );
}

#[test]
fn the_table_of_endpoints_takes_what_it_says_and_hands_it_over() {
    world::enter("kernel::the_table_of_endpoints_takes_what_it_says_and_hands_it_over", || async {
        let pins = world::options().pins;
        let (kernel, maps) = Kernel::load(&pins, &Sizes::default()).unwrap();
        let row = |n: u32| Endpoint { generation: n.into(), kind: 2, host: n, ..Endpoint::NOWHERE };
        let key = |n: u32| EndpointKey::new(n % 3, Address::v4(n.to_be_bytes()));
        let rows: Vec<_> = (0..maps.endpoints.capacity()).map(|n| (key(n), row(n))).collect();
        assert!(rows.len() >= 65_536);
        assert!(maps.endpoints.put_all(&rows).is_empty());
        let one_more = maps.endpoints.put(&key(u32::MAX), &row(0)).unwrap_err().to_string();
        assert!(one_more.contains("ENDPOINTS is full"), "{one_more}");
        drop((kernel, maps));
        let (_kernel, maps) = Kernel::load(&pins, &Sizes::default()).unwrap();
        assert!(rows.iter().all(|(key, row)| maps.endpoints.get(key) == Some(*row)));
        assert_eq!(maps.endpoints.rows().count(), rows.len());
        assert!(rows.iter().all(|(key, _)| maps.endpoints.remove(key).unwrap()));
        assert!(maps.endpoints.rows().next().is_none());
    });
}

#[test]
fn pins_outside_a_bpf_file_system_are_refused() {
    world::enter("kernel::pins_outside_a_bpf_file_system_are_refused", || async {
        let options = mizar_agent::Options { pins: "/tmp/pins".into(), ..world::options() };
        let error = mizar_agent::run(options).await.unwrap_err();
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    });
}

#[test]
fn each_mode_attaches_replaces_any_other_and_is_removed() {
    world::enter("kernel::each_mode_attaches_replaces_any_other_and_is_removed", || async {
        use NicMode::{Generic, Native, Tc};
        let generic =
            || mizar_agent::Options { mode: ModeChoice::Fixed(Generic), ..world::options() };
        let refused = mizar_agent::run(generic()).await.unwrap_err();
        assert!(refused.to_string().contains("use tc or auto"), "{refused}");
        world::no_aggregation();
        let all = [Native, Native, Generic, Native, Tc, Generic, Tc];
        // Others are refused on an old kernel.
        let modes = if world::unwraps_in_tc() { &all[..] } else { &all[..2] };
        for mode in modes.iter().copied() {
            let options =
                mizar_agent::Options { mode: ModeChoice::Fixed(mode), ..world::options() };
            let agent = world::start(options);
            assert_eq!(world::status("h1").await.nic_mode.to_string(), mode.as_str());
            world::kill(agent).await;
            let nic = world::ip("link show nic");
            assert_eq!(nic.contains(" xdpgeneric "), mode == Generic, "{mode}: {nic}");
            assert_eq!(nic.contains(" xdp "), mode == Native, "{mode}: {nic}");
        }
        let pins = world::options().pins;
        mizar_agent::remove(&pins, "h1").await.unwrap();
        assert!(!pins.exists());
        assert!(!world::ip("link show nic").contains("xdp"));
        mizar_agent::remove(&pins, "h1").await.unwrap();
    });
}

#[test]
fn a_nic_that_hands_over_aggregated_buffers_is_taken_by_tc() {
    world::enter("kernel::a_nic_that_hands_over_aggregated_buffers_is_taken_by_tc", || async {
        let agent = world::start(world::options());
        let status = world::status("h1").await;
        assert_eq!(status.nic_mode, mizar_proto::NicMode::Tc);
        assert!(status.nic_mode_reason.contains("aggregated"), "{}", status.nic_mode_reason);
        let second = mizar_agent::run(world::options()).await.unwrap_err();
        assert!(matches!(second, RunError::Running { .. }), "{second}");
        world::kill(agent).await;
    });
}

#[test]
fn a_nic_that_is_not_there_is_named() {
    world::enter("kernel::a_nic_that_is_not_there_is_named", || async {
        let options = mizar_agent::Options { nic: "nic7".to_owned(), ..world::options() };
        let error = mizar_agent::run(options).await.unwrap_err();
        assert!(matches!(error, RunError::Start(StartError::Netlink(_))));
        assert!(error.to_string().contains("nic7"), "{error}");
    });
}

#[test]
fn an_agent_that_is_asked_to_stop_leaves_all_but_its_socket() {
    let name = "kernel::an_agent_that_is_asked_to_stop_leaves_all_but_its_socket";
    world::enter(name, || async {
        let own = std::path::Path::new("/proc/self/ns/net");
        let agent = world::start_in(own, "h1", "native", name);
        assert_eq!(world::status("h1").await.nic_mode, mizar_proto::NicMode::Native);
        let mode = std::fs::metadata(world::options().socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap());
        assert!(!world::options().socket.exists());
        assert!(world::options().pins.join("links/wire_xdp").exists());
        assert!(world::ip("link show nic").contains(" xdp "));
    });
}
