# `make image` puts the static binary and the CA bundle into target/image/ and builds this.
FROM scratch
ARG VERSION
LABEL org.opencontainers.image.title="distributary" \
      org.opencontainers.image.description="Kubernetes operator that routes PostgreSQL reads to replicas" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY target/image/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY target/image/distributary /distributary
# No user database in the image: a number, so that runAsNonRoot can be checked.
USER 65532:65532
ENTRYPOINT ["/distributary"]
CMD ["run"]
