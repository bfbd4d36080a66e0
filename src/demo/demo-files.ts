/**
 * The files of the demo, as an admin would write them: the instance configuration, the policy document and its tests.
 *
 * They are made to be read. Every start writes them anew, since the ports may differ, and begins with a policy of one revision.
 */

/** Where everything of one demo is found. */
export interface DemoAddresses {
  /** Postern's port; every app is on it. */
  readonly port: number
  readonly operationsPort: number
  readonly access: URL
  readonly issuer: URL
  readonly apps: { readonly wiki: DemoAppAddress; readonly board: DemoAppAddress; readonly payroll: DemoAppAddress }
}

export interface DemoAppAddress {
  /** What a browser asks for. */
  readonly url: string
  /** Where the app itself listens. */
  readonly upstream: string
}

/** `postern.yaml` of the demo. The client's secret stands in the file beside it. */
export function writeInstance({ port, operationsPort, access, apps, issuer }: DemoAddresses): string {
  const reached = Object.values(apps).map(({ upstream }) => JSON.stringify(new URL(upstream).host))
  return `# The instance configuration of the demo. Written anew by every start; a change needs a restart.

url: ${access.origin}
listen: 127.0.0.1:${port}
operations: 127.0.0.1:${operationsPort} # /livez /readyz /metrics

provider:
  issuer: ${issuer.origin} # the demo's own; yours would be Keycloak, Entra, Okta …
  client_id: postern
  client_secret_file: client-secret
  claims: { groups: [groups] }
  strengths: { mfa: { acr: ["2"] } } # what this provider says of a sign-in with a second factor

session:
  store: embedded # one process; production uses Redis

keys_file: keys.json
data_dir: . # audit/ is here
policy: managed # changed at /console, where each change has a history; \`policy: policy.yaml\` follows the file instead
policy_seed: policy.yaml # what the first revision is made of
upstreams: { allow: [${reached.join(', ')}] } # nowhere else on this machine does an app lead
requests: on # people may ask for access

console:
  roles:
    admin: { groups: [postern-admins] } # alice
    auditor: { groups: [finance] } # bob reads everything and changes nothing
    helpdesk: { users: [carol@corp.example] } # carol cuts people off and lets them in again, but no admin

brand:
  name: Corp
  support: it-help@corp.example
`
}

/** `policy.yaml` of the demo. */
export function writePolicy({ apps }: DemoAddresses): string {
  return `# Who may open what: what the first revision is made of. Written anew by every start; while the demo runs, change it at /console.
#
# Nothing is allowed that no rule allows. A deny wins over every allow. The order of rules never matters.
# The people: alice (engineering, postern-admins), bob (finance), carol (contractors).

levels:
  mfa_1h: { sign_in: { strength: mfa, within: 1h } } # who has it not is sent to the sign-in service, and comes back

apps:
  - id: wiki
    name: Wiki
    description: How we work, written down
    owner: it-help@corp.example
    help: it-help@corp.example
    url: ${apps.wiki.url}
    upstream: ${apps.wiki.upstream}
    rules:
      - name: employees read and write
        allow: { groups: [engineering, finance] }
      - name: contractors read
        allow: { groups: [contractors] }
        methods: [read]

  - id: board
    name: Live board
    description: Talk and ticker of the release crew
    owner: alice@corp.example
    help: alice@corp.example
    url: ${apps.board.url}
    upstream: ${apps.board.upstream}
    portal: listed # everybody may know of it, and ask for it
    rules:
      - name: engineering takes part
        allow: { groups: [engineering] }

  - id: payroll
    name: Payroll
    description: Salary runs
    owner: bob@corp.example
    help: bob@corp.example
    url: ${apps.payroll.url}
    upstream: ${apps.payroll.upstream}
    sensitivity: confidential
    portal: if_allowed
    rules:
      - name: finance runs payroll
        allow: { groups: [finance] }
        when: [mfa_1h]
        paths: [/, /api/**, /assets/**]
      - name: salary bands are for administrators
        allow: { groups: [postern-admins] }
        paths: [/admin/**, /assets/**]
`
}

/** `policy.test.yaml` of the demo: what has to stay true whatever is changed. */
export function writePolicyTests({ apps }: DemoAddresses): string {
  return `# What has to stay true. Every draft is tried against it.

people:
  alice: { email: alice@corp.example, groups: [engineering, postern-admins] }
  bob: { email: bob@corp.example, groups: [finance] }
  carol: { email: carol@corp.example, groups: [contractors] }

tests:
  - name: employees write in the wiki
    given: { as: bob, request: "POST ${apps.wiki.url}/pages/welcome" }
    expect: allow
  - name: contractors only read there
    given: { as: carol, request: "POST ${apps.wiki.url}/pages/welcome" }
    expect: { deny: read_only }
  - name: a salary run wants a second factor
    given: { as: bob, request: "GET ${apps.payroll.url}/" }
    expect: step_up
  - name: with it finance gets in
    given: { as: bob, sign_in: mfa 10m ago, request: "GET ${apps.payroll.url}/" }
    expect: { allow: finance runs payroll }
  - name: nobody else does
    given: { as: carol, sign_in: mfa 1m ago, request: "GET ${apps.payroll.url}/" }
    expect: deny
`
}
