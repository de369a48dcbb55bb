import { describe, expect, it } from 'vitest';
import { parseForms } from './html-forms.ts';

describe('parseForms', () => {
  it('reads fields, buttons and selects, decoding entities', () => {
    const [form] = parseForms(`
      <form action="/go?a=1&amp;b=2" method="POST">
        <input type="hidden" name="csrf" value="&quot;x&#39;"><input type=checkbox name=on checked><input type=checkbox name=off>
        <select name="org"><option value="one"><option value="two" selected></select>
        <button name="decision" value="approve"><b>Approve</b> it</button><button type="button" name="no">No</button>
        <input type="submit" value="Go">
      </form>`);

    expect(form).toEqual({
      action: '/go?a=1&b=2',
      method: 'post',
      fields: [
        { name: 'csrf', type: 'hidden', value: `"x'` },
        { name: 'on', type: 'checkbox', value: 'on' },
        { name: 'org', type: 'select', value: 'two' },
      ],
      buttons: [
        { name: 'decision', value: 'approve', label: 'Approve it' },
        { name: '', value: 'Go', label: 'Go' },
      ],
    });
  });

  it('ignores forms inside comments', () => {
    expect(parseForms('<!-- <form></form> -->')).toEqual([]);
  });
});
