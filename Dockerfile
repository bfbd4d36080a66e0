# Two images from one file: `postern` (the default), and `demo-apps`, the three small apps of the compose file.
# Plain instructions only, so that every builder takes it.

FROM node:24-bookworm-slim AS build
WORKDIR /app
# The optional packages are Node itself for machines that lack it. Images have it.
COPY package.json package-lock.json ./
RUN npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN node_modules/.bin/tsc -p tsconfig.build.json

FROM node:24-bookworm-slim AS modules
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error

# The demo's apps: wiki, board, payroll. Of the development packages they need `ws`, and nothing else.
FROM node:24-bookworm-slim AS demo-apps
ENV NODE_ENV=production
WORKDIR /app
COPY package.json ./
COPY --from=build /app/node_modules/ws ./node_modules/ws
COPY --from=build /app/node_modules/jose ./node_modules/jose
COPY --from=build /app/dist/demo ./dist/demo
COPY views/demo ./views/demo
USER node
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:3000/assets/apps.css').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/demo/serve-app.js"]

FROM node:24-bookworm-slim AS postern
ENV NODE_ENV=production
WORKDIR /app
COPY package.json ./
COPY --from=modules /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY bin ./bin
COPY views ./views
# The only folder that is written to: keys, audit trail, and sessions of the embedded store. The rest may be read-only.
RUN mkdir /data && chown node:node /data && ln -s /app/bin/postern.cjs /usr/local/bin/postern
VOLUME /data
USER node
EXPOSE 8080 8443
# Liveness, not readiness: a provider or a store that is away is no reason to restart Postern.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["serve", "--config", "/etc/postern/postern.yaml"]
