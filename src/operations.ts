/**
 * The operations address: `/livez`, `/readyz` and `/metrics`, for orchestrators and Prometheus, never for the public.
 *
 * `/readyz` is 200 or 503 by its checks alone. What should be looked after but works stands in `warnings` (`operations-warnings.ts`).
 *
 * It is a listener of its own, on loopback unless configured otherwise. It answers only when `Host` is an address literal,
 * `localhost` or the configured name, so that a page in somebody's browser cannot reach it by DNS rebinding. It reads nothing
 * but the request line and changes nothing.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import type { Warnings } from './operations-warnings.ts'

/** One condition of readiness. `detail` is for the operator and holds no secret. */
export interface ReadinessCheck {
  readonly name: string
  readonly isReady: boolean
  readonly detail: string | undefined
}

export interface OperationsPorts {
  readonly checkReadiness: () => Promise<readonly ReadinessCheck[]>
  /** What should be looked after, by what it is about. It never makes an instance unready. */
  readonly findWarnings?: () => Warnings | Promise<Warnings>
  readonly metricsText: () => Promise<{ readonly type: string; readonly text: string }>
}

/** Starts the operations listener and resolves with its way to stop, once it accepts connections. Rejects if the address is taken. */
export async function startOperations(
  address: { readonly host: string; readonly port: number },
  ports: OperationsPorts,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer({ maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    answer(address.host, ports, request, response).catch(() => {
      if (!response.headersSent) send(response, 503, 'text/plain; charset=utf-8', 'The answer could not be made.\n')
      else response.destroy()
    })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.maxConnections = 64
  await listen(server, address)
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(configuredHost: string, ports: OperationsPorts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!isExpectedHost(request.headers.host, configuredHost))
    return send(response, 421, 'text/plain; charset=utf-8', 'This address is not for that host.\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain; charset=utf-8', 'Only GET.\n')
  switch (request.url?.split('?', 1)[0]) {
    case '/livez':
      return send(response, 200, 'text/plain; charset=utf-8', 'alive\n')
    case '/readyz': {
      const checks = await ports.checkReadiness()
      const isReady = checks.every((check) => check.isReady)
      const body = {
        ready: isReady,
        checks: Object.fromEntries(checks.map((check) => [check.name, check.isReady ? 'ready' : (check.detail ?? 'not ready')])),
        warnings: await collectWarnings(ports),
      }
      return send(response, isReady ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`)
    }
    case '/metrics': {
      const metrics = await ports.metricsText()
      return send(response, 200, metrics.type, metrics.text)
    }
    default:
      return send(response, 404, 'text/plain; charset=utf-8', 'Here are /livez, /readyz and /metrics.\n')
  }
}

async function collectWarnings({ findWarnings }: OperationsPorts): Promise<Warnings> {
  try {
    return (await findWarnings?.()) ?? {}
  } catch {
    // Not to know whether something needs looking after is a warning, and no reason to serve nobody.
    return { operations: 'what there is to look after could not be found out' }
  }
}

/** Address literals cannot be rebound by DNS; of names only those the operator chose count. */
function isExpectedHost(header: string | undefined, configuredHost: string): boolean {
  if (header === undefined) return false
  const hostname = header.startsWith('[') ? header.slice(1, header.indexOf(']')) : (header.split(':', 1)[0] ?? '')
  return isIP(hostname) !== 0 || hostname === 'localhost' || hostname.toLowerCase() === configuredHost.toLowerCase()
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  response.end(response.req.method === 'HEAD' ? undefined : body)
}

function listen(server: Server, address: { readonly host: string; readonly port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(address.port, address.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
