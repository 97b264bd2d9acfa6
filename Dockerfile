# Builds Banksia and an image that runs it as nobody in particular, with all data
# in /data. docs/operations.md explains how to use it.
#
#   docker build -t banksia .

FROM golang:1.26-trixie AS build
WORKDIR /src
ENV DEBIAN_FRONTEND=noninteractive
# The lists of packages come first, so that a change of the program alone does not
# install them again.
COPY go.mod go.sum ./
COPY scripts/install scripts/packages.txt scripts/
RUN scripts/install build
RUN go mod download
COPY . .
ARG VERSION=container
RUN make build VERSION="$VERSION"

FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
# What scripts/packages.txt needs to run, and the library that libvips-dev brought
# while building. ffmpeg would also bring what draws in windows, 200 MB that nobody
# has a window for here; it is loaded only then.
COPY scripts/packages.txt /tmp/packages.txt
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libvips42t64 $(sed -n 's/^run  *\([^ ]*\) .*/\1/p' /tmp/packages.txt) \
 && dpkg --purge --force-depends $(dpkg-query -Wf '${Package}\n' 'libllvm*' mesa-libgallium libz3-4 libgl1-mesa-dri libglx-mesa0) \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /tmp/packages.txt
COPY --from=build /src/bin/banksia /usr/bin/banksia
RUN install -d -o 65532 -g 65532 -m 700 /data
USER 65532:65532
VOLUME /data
EXPOSE 8000
# A backup in S3 is on its way a file as large as the database: not in memory.
ENV BANKSIA_DATA=/data BANKSIA_LISTEN=:8000 BANKSIA_LOG_FORMAT=json TMPDIR=/data
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s CMD ["banksia", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["banksia"]
CMD ["serve"]
