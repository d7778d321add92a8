# The build stage runs on the builder's own platform and cross-compiles.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# If the builder does not set them, Go builds for its own platform.
ARG TARGETOS
ARG TARGETARCH
ARG REVISION=
ARG BUILD_DATE=
RUN package=github.com/prometheus/common/version && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/chatwize_exporter -ldflags "-s -w \
      -X $package.Revision=$REVISION -X $package.BuildDate=$BUILD_DATE" . && \
    scripts/licences /out/THIRD_PARTY_LICENSES

FROM scratch
LABEL org.opencontainers.image.title="chatwize_exporter" \
      org.opencontainers.image.description="Prometheus exporter for Chatwize chatbots" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/chatwize-exporter/chatwize_exporter"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /
COPY --from=build /out/THIRD_PARTY_LICENSES /
COPY --from=build /out/chatwize_exporter /bin/
# Numeric, because runAsNonRoot of Kubernetes cannot resolve user names.
USER 65532:65532
EXPOSE 10113
# It follows the environment variables of the container, but not the arguments.
HEALTHCHECK --timeout=10s --start-period=10s CMD ["/bin/chatwize_exporter", "healthcheck"]
ENTRYPOINT ["/bin/chatwize_exporter"]
