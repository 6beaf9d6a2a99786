# Debian 12 to build and Debian 13 to run: the release's archive has this same binary in it, and an older C library to build
# with lets it run on older systems.
FROM docker.io/library/rust:1-bookworm AS build
WORKDIR /src
# Without tests: cargo looks for their files only when it builds them.
COPY Cargo.toml Cargo.lock ./
COPY .cargo ./.cargo
COPY src ./src
# What `--version` and the log say beside the version. Only the release's scripts know it: .git stays out of the build.
ARG COMMIT=
# Both caches outlive the build, so that the dependencies are compiled once and not at every change. The second has a name,
# because without one it would be shared with everybody who builds in /src/target, and with what another Debian left
# there. The binary is copied out at once, because a cache is no part of the image. Cargo tells what has changed by the
# files' times, and a fresh checkout can be older than the cache: so they are touched.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=wolkvox-bot-bookworm,target=/src/target,sharing=locked \
    find src -name '*.rs' -exec touch {} + \
    && WOLKVOX_BOT_COMMIT="$COMMIT" cargo build --release --locked --bin wolkvox-bot \
    && install -D target/release/wolkvox-bot /out/wolkvox-bot
# For the state file: writable for the unprivileged user, and for group 0, which any other user id of OpenShift's has. One level
# down, because a builder may give the folder that it is told to copy another mode, but not those in it.
RUN install -d -m 0770 -o 65532 -g 0 /out/volumes/data

# docker build --target sandbox: nothing of it is built for the bot's own image, and the bot is not built anew when only
# tests change.
FROM build AS build-sandbox
COPY tests ./tests
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=wolkvox-bot-bookworm,target=/src/target,sharing=locked \
    find src tests -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --example sandbox \
    && install -D target/release/examples/sandbox /out/sandbox

FROM gcr.io/distroless/cc-debian13:nonroot AS sandbox
COPY --from=build-sandbox /out/sandbox /usr/local/bin/sandbox
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/sandbox"]

# No shell, no package manager: the C library, the certificates of the public authorities, and the bot.
FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /out/wolkvox-bot /usr/local/bin/wolkvox-bot
COPY --from=build --chown=65532:0 /out/volumes/ /
# The base image starts in its user's home, which any other user id may not enter: the bot would warn that it can't look for
# .env there.
WORKDIR /
ENV STATE_FILE=/data/wolkvox-bot.db
VOLUME /data
# "nonroot", as a number, so that Kubernetes can see that it is not root.
USER 65532:65532
# The bot finishes the call in progress when it is told to stop: give it time with --stop-timeout 150.
STOPSIGNAL SIGTERM
# As a list: the bot itself is process 1 and gets the signal, not a shell that would keep it to itself.
ENTRYPOINT ["/usr/local/bin/wolkvox-bot"]
