# The build stage runs on the builder's own platform and cross-compiles.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Unset where the builder does not know them: then Go builds for its own platform.
ARG TARGETOS
ARG TARGETARCH
# Without a version the exporter calls itself "devel".
ARG VERSION=
ARG REVISION=
ARG BUILD_DATE=
RUN package=github.com/prometheus/common/version && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/chatwize_exporter -ldflags "-s -w \
      -X $package.Version=$VERSION -X $package.Revision=$REVISION -X $package.BuildDate=$BUILD_DATE" .

FROM scratch
LABEL org.opencontainers.image.title="chatwize_exporter" \
      org.opencontainers.image.description="Prometheus exporter for Chatwize chatbots" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/chatwize-exporter/chatwize_exporter"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /
COPY --from=build /out/chatwize_exporter /bin/
# Numeric, for Kubernetes's runAsNonRoot cannot tell that a name is not root.
USER 65532:65532
EXPOSE 10113
ENTRYPOINT ["/bin/chatwize_exporter"]
