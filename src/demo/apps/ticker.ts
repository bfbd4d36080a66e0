/**
 * The board's ticker: server-sent events (HTML §9.2) that never end by themselves.
 *
 * Each event has an id, and a client that comes back with `Last-Event-ID` gets what it missed, as far as it is remembered.
 * A client that does not read is cut rather than buffered for.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'

export interface Ticker {
  /** Answers with an event stream that stays open until the client leaves. */
  stream(request: IncomingMessage, response: ServerResponse): void
  close(): void
}

interface News {
  readonly id: number
  readonly at: number
  readonly text: string
}

const remembered = 20
const maxBufferedBytes = 256 * 1024

/** Starts ticking at once; `close` stops it and ends every stream. */
export function createTicker(options: { readonly now: () => number; readonly everyMs: number }): Ticker {
  const clients = new Set<ServerResponse>()
  const news: News[] = []
  let build = 412
  let step = 0
  let lastId = 0

  function tick(): void {
    const line = lines[step % lines.length] ?? ''
    if (step % lines.length === 0) build += 1
    step += 1
    lastId += 1
    const item: News = { id: lastId, at: options.now(), text: line.replaceAll('{build}', String(build)) }
    news.push(item)
    if (news.length > remembered) news.shift()
    for (const client of clients) {
      if (client.writableLength > maxBufferedBytes) client.destroy()
      else client.write(format(item))
    }
  }

  tick()
  tick()
  const timer = setInterval(tick, options.everyMs)
  timer.unref()

  return {
    stream(request, response) {
      response.writeHead(200, {
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
      })
      if (request.method === 'HEAD') {
        response.end()
        return
      }
      const seen = Number(request.headers['last-event-id'] ?? 0)
      response.write('retry: 2000\n\n')
      for (const item of news) if (!(item.id <= seen && seen <= lastId)) response.write(format(item))
      clients.add(response)
      response.on('close', () => clients.delete(response))
    },
    close() {
      clearInterval(timer)
      for (const client of clients) client.end()
      clients.clear()
    },
  }
}

function format({ id, at, text }: News): string {
  return `id: ${id}\nevent: news\ndata: ${JSON.stringify({ at, text })}\n\n`
}

const lines = [
  'Build {build} started',
  'Build {build}: 1,204 tests passed',
  'Staging runs build {build}',
  'Deploy of build {build}: ten percent',
  'Error rate 0.02 %, nothing unusual',
  'Deploy of build {build}: everyone',
  'On call: dana, until Monday 10:00',
]
