//! nginx as one process without workers, so that ending it ends all of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::packages::{self, Program};

/// A command that starts it in this folder with these `server` blocks.
pub fn command(program: &Program, folder: &Path, servers: &str) -> Command {
    let config = folder.join("nginx.conf");
    fs::write(&config, configuration(folder, servers)).expect("write its configuration");
    let mut command = program.command();
    command.arg("-p").arg(folder).arg("-c").arg(config);
    command.args(["-e", "stderr"]);
    command
}

/// A command that starts it with this `stream` block. `None` where it does not have that module,
/// which is a package of its own.
pub fn stream_command(program: &Program, folder: &Path, block: &str) -> Option<Command> {
    let module = "usr/lib/nginx/modules/ngx_stream_module.so";
    let fetched = packages::folder().join(module);
    let places = [Path::new("/").join(module), fetched];
    let module = places.into_iter().find(|place| place.is_file())?;
    let config = folder.join("nginx.conf");
    let text = format!(
        "load_module {};
        daemon off;
        master_process off;
        pid {}/pid;
        events {{}}
        stream {{ {block} }}",
        module.display(),
        folder.display(),
    );
    fs::write(&config, text).expect("write its configuration");
    let mut command = program.command();
    command.arg("-p").arg(folder).arg("-c").arg(config);
    command.args(["-e", "stderr"]);
    Some(command)
}

fn configuration(folder: &Path, servers: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
        master_process off;
        pid {folder}/pid;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            {servers}
        }}"
    )
}
