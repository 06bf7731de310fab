//! The two things that ureq's connections lack: requests in absolute form, as HTTP proxies take them for http, and a
//! TLS configuration that is made once for each agent.

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport},
};

/// Connects as ureq does, but that all requests of an agent share the TLS configuration: they have the same settings of
/// it here, even where they have time-outs of their own.
#[derive(Debug, Default)]
pub(super) struct Plain(DefaultConnector);

impl Connector for Plain {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: false,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.0.connect(&details, chained)
    }
}

/// Connects to a proxy that is asked for whole URLs.
///
/// ureq writes the path of the URL behind the method. The URL that is asked of it here is that of the proxy, and its
/// path is `/` and the URL that is meant; all that is left to do is to leave that `/` out.
#[derive(Debug, Default)]
pub(super) struct Forward(Plain);

impl Connector for Forward {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let connection = self.0.connect(details, chained)?;
        Ok(connection.map(|connection| Box::new(Absolute { connection, at_start: true }) as Box<dyn Transport>))
    }
}

#[derive(Debug)]
struct Absolute {
    connection: Box<dyn Transport>,
    /// Whether what is written next begins a request: nothing was written since something was read.
    at_start: bool,
}

impl Transport for Absolute {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut amount = amount;
        if self.at_start && amount > 0 {
            self.at_start = false;
            let output = self.connection.buffers().output();
            let line = output.get(..amount).unwrap_or_default();
            // The request line is written whole, and at once.
            if let Some(slash) = line.windows(2).position(|pair| pair == b" /").map(|blank| blank + 1) {
                output.copy_within(slash + 1..amount, slash);
                amount -= 1;
            }
        }
        self.connection.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.at_start = true;
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}
