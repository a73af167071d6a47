# `make image` builds this in a directory with the static binary and the CA bundle.
FROM scratch
ARG VERSION
LABEL org.opencontainers.image.title="distributary" \
      org.opencontainers.image.description="Kubernetes operator that routes PostgreSQL reads to replicas" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY distributary /distributary
# No user database in the image: a number, so that runAsNonRoot can be checked.
USER 65532:65532
ENTRYPOINT ["/distributary"]
CMD ["run"]
