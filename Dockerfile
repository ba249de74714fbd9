# Broker, agent and the operator's command line in one image; see docker-compose.yml.
#
#   docker build --tag wakemq .
#   docker run --publish 8883:8883 --publish 443:443 --volume wakemq:/var/lib/wakemq wakemq \
#       run --data /var/lib/wakemq --init-if-missing --host wake.example.com

FROM rust:1-slim-bookworm AS build
# For the broker's feature `jemalloc`.
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The agent by itself, in a profile that makes it small; see Cargo.toml.
RUN cargo build --locked --release --package wakemq-broker --package wakemq-publisher --bin wakemqd --bin wakemq \
        --features wakemq-broker/jemalloc \
    && cargo build --locked --profile agent --package wakemq-agent --bin wakemq-agent \
    && strip target/release/wakemqd target/release/wakemq target/agent/wakemq-agent

# The same Debian as above, for its libc. Not an image without a shell: the agent runs its handlers by one.
FROM debian:bookworm-slim
# For brokers whose certificate is a public one.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/wakemqd /src/target/release/wakemq /src/target/agent/wakemq-agent /usr/local/bin/
# State, and where enrolment is handed over in the demo. A volume that is new takes their owner over.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/wakemq /enrolment
USER 10001:10001
# `docker exec BROKER wakemq agents list` is the first administrator's.
ENV WAKEMQ_PROFILE=/var/lib/wakemq/operator.toml
VOLUME ["/var/lib/wakemq"]
# Both serve everything. Engines let every user listen on 443 in a container (sysctl net.ipv4.ip_unprivileged_port_start).
EXPOSE 8883 443
HEALTHCHECK --interval=10s --timeout=10s --start-period=10s CMD ["wakemqd", "health", "--data", "/var/lib/wakemq"]
ENTRYPOINT ["wakemqd"]
CMD ["run", "--data", "/var/lib/wakemq", "--init-if-missing", "--host", "localhost"]
