import type { ExchangeRefusal } from './token-exchange.ts';

/** The subject token after it was looked at. `foreign`: not ours, malformed, or of another organisation. */
export type SubjectFact =
  | { readonly state: 'valid'; readonly jkt: string }
  | { readonly state: 'expired' | 'revoked' | 'foreign' };

/** The actor token after it was looked at; `mayAct`: whether the subject lets it act (RFC 8693 §4.4). */
export type ActorFact =
  | { readonly state: 'valid'; readonly jkt: string; readonly mayAct: boolean }
  | { readonly state: 'expired' | 'revoked' | 'foreign' };

/** Who takes part in an exchange: judged before any fact of an organisation is loaded. */
export interface ExchangeParties {
  readonly client: { readonly grantTypes: readonly string[] };
  readonly subject: SubjectFact;
  /** Null or left out: the request names no actor. */
  readonly actor?: ActorFact | null;
  /** Thumbprint of the key that sent the request; null when it sent no proof. */
  readonly proofJkt: string | null;
}

/** The provider the request names, as the organisation knows it. */
export interface ProviderFact {
  readonly id: string;
  readonly name: string;
  /** Whether it is attached to the agent that will hold the credential. */
  readonly attached: boolean;
  /** How old the login behind the request may be, in seconds; null when it does not matter. */
  readonly maxLoginAgeSeconds?: number | null;
  /** `user`: a person approves once per session before a credential leaves. */
  readonly approval?: 'none' | 'user';
}

/** What a credential is: a token the provider gave, a key somebody stored, or one made for this lease alone. */
export type ExchangedKind = 'oauth' | 'static' | 'minted';

/** The connection the request picks. */
export type ConnectionFact =
  | {
      readonly state: 'connected';
      readonly id: string;
      readonly kind: ExchangedKind;
      /**
       * What the user granted, or what may be minted; null when nobody said. Not looked at for a static key. A minted
       * credential can be narrowed within it, a granted token cannot.
       */
      readonly scopes: readonly string[] | null;
    }
  /** The provider wants the user again. */
  | { readonly state: 'reauth_required'; readonly id: string }
  /** Several fit; their names. */
  | { readonly state: 'ambiguous'; readonly names: readonly string[] };

/** All facts of one exchange. */
export interface ExchangeFacts extends ExchangeParties {
  /** Null when the organisation has no provider of that handle. */
  readonly provider: ProviderFact | null;
  /** Null when the user has no connection that fits. */
  readonly connection: ConnectionFact | null;
  readonly delivery: 'inject' | 'broker';
  /** Wanted scopes; empty means whatever may be had. */
  readonly scope: readonly string[];
  /** Kind the request insists on; null or left out: any. */
  readonly requestedKind?: 'oauth' | 'static' | null;
  readonly ceilings: ExchangeCeilings;
  /** What policy says and does; null when it does nothing. */
  readonly policy: {
    readonly effect: 'allow' | 'deny';
    readonly rule: string | null;
    /** For a person, one line; left out or empty: none. */
    readonly reason?: string;
  } | null;
  /** Longest life of a lease in seconds: the least of what agent, provider and subject allow, see `leaseCap`. */
  readonly leaseCapSeconds: number;
  /** Seconds since the person behind the login was authenticated; null or left out when nobody knows. */
  readonly loginAgeSeconds?: number | null;
  /** Whether a person approved this provider for this session. Looked at only where the provider wants it. */
  readonly approval?: ApprovalFact;
}

/** What a person said about the use of a provider in a session. */
export type ApprovalFact =
  | { readonly state: 'given' }
  | { readonly state: 'denied' }
  /** Asked, or still to be asked: then the caller makes the question and adds its members. */
  | { readonly state: 'pending'; readonly members: ExchangeRefusal['members'] };

/** Upper bounds on scopes; null means no bound. */
export interface ExchangeCeilings {
  /** Of the subject token, or of the lease that is narrowed. */
  readonly subject: readonly string[] | null;
  /** Of the provider's attachment to the agent. */
  readonly attachment?: readonly string[] | null;
  /** Of the agent for every provider. */
  readonly agent: readonly string[] | null;
}

/** A connection that can be used. */
export type Connected = Extract<ConnectionFact, { state: 'connected' }>;
