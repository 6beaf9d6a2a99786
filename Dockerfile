# syntax=docker/dockerfile:1

# Debian 12 to build and Debian 12 to run, so that the C library is the same.
FROM rust:1-bookworm AS build
WORKDIR /src
# Tests, sandbox and benchmarks are not needed: cargo looks for their files only when it builds them.
COPY Cargo.toml Cargo.lock ./
COPY .cargo ./.cargo
COPY src ./src
# Both caches outlive the build, so that the dependencies are compiled once and not at every change. The
# binary is copied out at once, because a cache is no part of the image. Cargo tells what has changed
# by the files' times, and a fresh checkout can be older than the cache: hence the touch.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin wolkvox-bot \
    && install -D target/release/wolkvox-bot /out/wolkvox-bot
# For the record: writable for the unprivileged user, and for group 0, which any other user id of OpenShift's has.
RUN install -d -m 0770 -o 65532 -g 0 /out/data

# No shell, no package manager: the C library, the certificates of the public authorities, and the bot.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/wolkvox-bot /usr/local/bin/wolkvox-bot
COPY --from=build --chown=65532:0 /out/data /data
ENV STATE_FILE=/data/wolkvox-bot.db
VOLUME /data
# "nonroot", as a number, so that Kubernetes can see that it is not root.
USER 65532:65532
# The bot finishes the call under way when it is told to stop: give it time with --stop-timeout 150.
STOPSIGNAL SIGTERM
# As a list: the bot itself is process 1 and gets the signal, not a shell that would keep it to itself.
ENTRYPOINT ["/usr/local/bin/wolkvox-bot"]
