# The image is the binary and nothing else. To give it to a function: COPY --from=fnpod /fnpod /fnpod

FROM scratch AS base
USER 65532:65532
ENTRYPOINT ["/fnpod"]
HEALTHCHECK --interval=10s --timeout=2s CMD ["/fnpod", "probe"]

# docker build --target local: around bin/fnpod as "make build" left it, without a Go image.
FROM base AS local
COPY bin/fnpod /fnpod

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o bin/fnpod ./cmd/fnpod

FROM base
COPY --from=build /src/bin/fnpod /fnpod
