/**
 * The demo's live board: chat by WebSocket, and a ticker by server-sent events. Both stay open for hours, which is the point.
 *
 * It trusts the identity headers of the request that opened a connection, and so must be reachable through Postern alone.
 * `Origin` is not checked here: Postern refuses upgrades and forms from other origins before they arrive. Without script
 * the page still shows the conversation and takes messages by form.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { loadDemoAsset } from '../assets.ts'
import { html } from '../markup.ts'
import { type AppTarget, type RunningApp, readBody, sendAsset, sendPage, sendRedirect, sendText, startAppServer } from './app-server.ts'
import { displayName, type Identity, readIdentity } from './identity.ts'
import { renderPage, renderTime } from './layout.ts'
import { createTicker } from './ticker.ts'

export interface BoardOptions {
  readonly host?: string | undefined
  readonly now: () => number
  /** How often the ticker has news; 4 s if not given. */
  readonly tickMs?: number
}

/** What clients receive on the socket, as JSON. */
export type BoardEvent =
  | { readonly type: 'message'; readonly from: string; readonly text: string; readonly at: number }
  | { readonly type: 'present'; readonly people: readonly string[] }

type Message = Extract<BoardEvent, { type: 'message' }>

const maxMessageBytes = 4096
const keptMessages = 100
/** A client that cannot take this much at once is cut; it reconnects and reads the page again. */
const maxBufferedBytes = 1024 * 1024
/** Well below the idle limits of proxies in between. */
const pingEveryMs = 20_000

const script = loadDemoAsset('board.js')

/** Starts the board with the morning's conversation on it. */
export async function startBoard(port: number, options: BoardOptions): Promise<RunningApp> {
  const messages: Message[] = seedMessages.map(([from, text, minutesAgo]) => ({
    type: 'message',
    from,
    text,
    at: options.now() - minutesAgo * 60_000,
  }))
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes })
  const people = new Map<WebSocket, string>()
  const answered = new WeakSet<WebSocket>()
  const ticker = createTicker({ now: options.now, everyMs: options.tickMs ?? 4000 })

  function handle(request: IncomingMessage, response: ServerResponse, { path }: AppTarget): Promise<void> | void {
    const identity = readIdentity(request)
    if (path === '/messages' && request.method === 'POST') return takeForm(request, response, identity)
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendText(response, 405, 'Only reading and posting messages.')
    if (path === '/') return sendPage(response, 200, boardPage(identity, messages))
    if (path === '/events') return ticker.stream(request, response)
    if (path === '/assets/board.js') return sendAsset(response, script)
    return sendText(response, 404, 'There is nothing here.')
  }

  async function takeForm(request: IncomingMessage, response: ServerResponse, identity: Identity | undefined): Promise<void> {
    let body: string
    try {
      body = await readBody(request, maxMessageBytes * 3)
    } catch {
      return sendText(response, 413, 'That message is too long.')
    }
    post(displayName(identity), new URLSearchParams(body).get('text') ?? '')
    sendRedirect(response, '/#write')
  }

  function post(from: string, text: string): void {
    const trimmed = text.trim().slice(0, 1000)
    if (trimmed === '') return
    const message: Message = { type: 'message', from, text: trimmed, at: options.now() }
    messages.push(message)
    if (messages.length > keptMessages) messages.shift()
    broadcast(message)
  }

  function broadcast(event: BoardEvent): void {
    const text = JSON.stringify(event)
    for (const socket of people.keys()) {
      if (socket.bufferedAmount > maxBufferedBytes) socket.terminate()
      else socket.send(text)
    }
  }

  function join(socket: WebSocket, identity: Identity | undefined): void {
    const name = displayName(identity)
    people.set(socket, name)
    answered.add(socket)
    socket.on('pong', () => answered.add(socket))
    socket.on('message', (content, isBinary) => {
      if (!isBinary) post(name, content.toString())
    })
    socket.on('error', () => socket.terminate())
    socket.on('close', () => {
      people.delete(socket)
      announce()
    })
    announce()
  }

  function announce(): void {
    broadcast({ type: 'present', people: [...new Set(people.values())].sort((a, b) => a.localeCompare(b)) })
  }

  const pinging = setInterval(() => {
    for (const socket of people.keys()) {
      if (!answered.delete(socket)) socket.terminate()
      else socket.ping()
    }
  }, pingEveryMs)
  pinging.unref()

  const { app, server } = await startAppServer({
    port,
    host: options.host,
    handle,
    onClose: () => {
      clearInterval(pinging)
      ticker.close()
      for (const socket of people.keys()) socket.terminate()
      sockets.close()
    },
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    if (request.url !== '/socket') {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (accepted) => join(accepted, readIdentity(request)))
  })
  return app
}

function boardPage(identity: Identity | undefined, messages: readonly Message[]) {
  const frame = {
    app: { id: 'board', name: 'Board', mark: 'B' } as const,
    title: 'Live board',
    identity,
    navigation: [
      { href: '#talk', label: 'Talk' },
      { href: '#ticker', label: 'Ticker' },
    ],
    scripts: ['/assets/board.js'],
  }
  return renderPage(
    frame,
    html`<div class="title"><h1>Live board</h1>
      <p class="states"><span class="state" id="chat-state" role="status" data-state="off">Chat: not connected</span>
      <span class="state" id="ticker-state" role="status" data-state="off">Ticker: not connected</span></p></div>
    <div class="columns">
      <section class="card talk" aria-labelledby="talk">
        <h2 id="talk">Talk</h2>
        <p class="soft" id="present"></p>
        <div class="talk-log" role="log" tabindex="0" aria-label="Messages"><ol id="messages" class="messages" data-me="${displayName(identity)}">${messages.map(
          (message) =>
            html`<li${message.from === displayName(identity) ? html` class="mine"` : undefined}><strong>${message.from}</strong> ${renderTime(message.at)}<p>${message.text}</p></li>`,
        )}</ol></div>
        <form class="inline" id="write" method="post" action="/messages">
          <label class="hidden" for="text">Message</label>
          <input id="text" name="text" required maxlength="1000" autocomplete="off" placeholder="Say something">
          <button class="button primary">Send</button>
        </form>
      </section>
      <section class="card" aria-labelledby="ticker">
        <h2 id="ticker">Ticker</h2>
        <ol id="news" class="news" aria-live="off"></ol>
        <noscript><p class="soft">The ticker needs script. The conversation works without: reload to see what is new.</p></noscript>
      </section>
    </div>`,
  )
}

const seedMessages: readonly (readonly [from: string, text: string, minutesAgo: number])[] = [
  ['dana', 'Morning. Build 411 is green, release at eleven as planned.', 52],
  ['alice', 'I drive. Who watches the graphs?', 49],
  ['erik', 'Me. Coffee first.', 48],
  ['dana', 'The checklist in the wiki has a new step, please read it before.', 31],
]
