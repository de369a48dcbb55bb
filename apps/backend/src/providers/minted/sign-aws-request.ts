/**
 * AWS Signature Version 4 for one kind of request: a POST with a form to a path without query, which is all STS needs.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHash, createHmac } from 'node:crypto';

/** An access key. */
export interface AwsKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** What is signed. */
export interface AwsRequest {
  /** Without query. */
  readonly url: URL;
  readonly body: string;
  readonly region: string;
  readonly service: string;
  readonly nowMs: number;
}

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** Signs a form. @returns The headers to send, in lower case; `host` is among what was signed, and is sent by the client. */
export function signAwsRequest(key: AwsKey, request: AwsRequest): Readonly<Record<string, string>> {
  const { url, body, region, service, nowMs } = request;
  const amzDate = new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, '');
  const day = amzDate.slice(0, 8);
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    host: url.host,
    'x-amz-date': amzDate,
  };
  const signedHeaders = Object.keys(headers).join(';');
  const canonicalHeaders = Object.entries(headers)
    .map(([name, value]) => `${name}:${value}\n`)
    .join('');
  const canonical = ['POST', url.pathname, '', canonicalHeaders, signedHeaders, sha256(body)].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', amzDate, scope, sha256(canonical)].join('\n');
  const dayKey = hmac(`AWS4${key.secretAccessKey}`, day);
  const signingKey = hmac(hmac(hmac(dayKey, region), service), 'aws4_request');
  const signature = hmac(signingKey, toSign).toString('hex');
  return {
    'content-type': headers['content-type'],
    'x-amz-date': amzDate,
    authorization: `AWS4-HMAC-SHA256 Credential=${key.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
  };
}
