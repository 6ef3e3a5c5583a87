//! Generates the messages and services from the .proto files, without a system protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["mizar/v1/controller.proto", "mizar/v1/agent.proto"];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        // It has a Debug of its own, which shows no key.
        .skip_debug([".mizar.v1.TagKeys"])
        // The client's own `connect` would collide with `Controller.Connect`.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
