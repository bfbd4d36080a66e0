/**
 * A request as it arrived, and the instance that it arrived at: what the flow is handed, and all it is handed.
 *
 * An Upgrade and a plain request differ only in how they are answered and carried, so both are two functions here and the flow has
 * no second branch that could be forgotten.
 */

import type { IncomingMessage } from 'node:http'
import type { FactsLedger } from '../audit/recorded-facts.ts'
import type { Redaction } from '../audit/redaction.ts'
import type { KeptPost } from '../session/kept-posts.ts'
import type { BodyReception, BodyReceptionLimits } from './body-reception.ts'
import type { Exchange, ExchangeBody, ExchangeOutcome, Target } from './exchange.ts'
import type { IdentityIssuer } from './identity.ts'
import type { EnforcementPorts, EnforcementSettings, Snapshot } from './ports.ts'
import type { Answer, Responder } from './respond.ts'
import type { ArrivalTrace } from './trace-context.ts'

export interface Arrival {
  readonly id: string
  readonly request: IncomingMessage
  /** The policy it is judged by, taken once: a reload never changes a request half way. */
  readonly snapshot: Snapshot
  /** A WebSocket handshake. Any other Upgrade is an ordinary request that loses the header. */
  readonly isUpgrade: boolean
  /** The client's, behind trusted proxies. */
  readonly address: string
  readonly trace: ArrivalTrace
  /**
   * Whether this connection cannot show a certificate for this host although our listener asks for them: it was opened under another
   * name, or before the host had a rule about devices. A new connection can.
   */
  isMisdirectedFor(hostname: string): boolean
  /** Monotonic instant. */
  readonly arrivedAt: number
  /** How long `receive` waited for the client so far, milliseconds. */
  receivingMs: number
  /** The body, where it was received before the decision; what is forwarded in place of what the client sends. */
  readonly received?: ReceivedForm | undefined
  /** Receives the body, and tells a client that asks to go on. At most once, and only where `received` is not there. */
  receive(limits: BodyReceptionLimits): Promise<BodyReception>
  /** Answers with something of ours; whatever had begun before is cut. */
  answer(answer: Answer): void
  /** Hands an allowed exchange over to forwarding. `noteUse` hears what a client goes on to send in a WebSocket. */
  carry(exchange: Exchange, noteUse: () => void): Promise<ExchangeOutcome>
  /** Hands a request for the access host over to the control plane. */
  enterAccessHost(target: Target): void
}

/** A form that was received whole. */
export interface ReceivedForm extends ExchangeBody {
  /** Set where it was kept during a sign-in, and this request only brought the word to send it on. */
  readonly kept: KeptPost | undefined
}

/** One instance's enforcement point: made once, shared by every request. */
export interface EnforcementPoint {
  readonly settings: EnforcementSettings
  readonly ports: EnforcementPorts
  readonly responder: Responder
  readonly issueIdentity: IdentityIssuer
  /** What decisions were made from, for the trail. */
  readonly factsLedger: FactsLedger
  /** What is kept out of the trail. */
  readonly redaction: Redaction
  /** How often something was heard of ends, locks and the like: who waited sees by it whether anything can have changed. */
  readonly news: { heard: number }
}
