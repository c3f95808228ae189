//! Assembler for eBPF programs: instructions in order, jumps to labels.
//!
//! The instruction set is that of RFC 9669, restricted to what the programs here use.

use super::Map;

// Classes, sizes and modes of instructions (RFC 9669 §3).
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const JMP: u8 = 0x05;
const ALU64: u8 = 0x07;
const IMM: u8 = 0x00;
const ABS: u8 = 0x20;
const MEM: u8 = 0x60;
const ATOMIC: u8 = 0xc0;
const DOUBLE_WORD: u8 = 0x18;
const REGISTER: u8 = 0x08;
/// Source of a 64-bit immediate that is the descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;

/// Register: results in 0, arguments in 1 to 5 (lost in a call), 6 to 9 preserved, 10 is the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(pub(crate) u8);

/// Width of a load or store.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Width {
    /// 32 bits.
    Word = 0x00,
    /// 16 bits.
    Half = 0x08,
    /// 8 bits.
    Byte = 0x10,
    /// 64 bits.
    Double = 0x18,
}

/// Label in a program; jumps go forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) &'static str);

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    to: Reg,
    from: Reg,
    offset: i16,
    number: i32,
    jump: Option<Label>,
}

/// Program under construction.
#[derive(Debug, Default)]
pub(crate) struct Program {
    instructions: Vec<Instruction>,
    labels: Vec<(Label, usize)>,
}

impl Program {
    /// Places `label` before the next instruction.
    pub(crate) fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// `to = from`.
    pub(crate) fn copy(&mut self, to: Reg, from: Reg) {
        self.add(ALU64 | REGISTER | 0xb0, to, from, 0, 0);
    }

    /// `to = number`, sign-extended.
    pub(crate) fn set(&mut self, to: Reg, number: i32) {
        self.add(ALU64 | 0xb0, to, Reg(0), 0, number);
    }

    /// `to += number`.
    pub(crate) fn plus(&mut self, to: Reg, number: i32) {
        self.add(ALU64, to, Reg(0), 0, number);
    }

    /// `to += from`.
    pub(crate) fn plus_reg(&mut self, to: Reg, from: Reg) {
        self.add(ALU64 | REGISTER, to, from, 0, 0);
    }

    /// `to -= from`.
    pub(crate) fn minus_reg(&mut self, to: Reg, from: Reg) {
        self.add(ALU64 | REGISTER | 0x10, to, from, 0, 0);
    }

    /// `to &= number`, sign-extended.
    pub(crate) fn and(&mut self, to: Reg, number: i32) {
        self.add(ALU64 | 0x50, to, Reg(0), 0, number);
    }

    /// `to |= number`, sign-extended.
    pub(crate) fn or(&mut self, to: Reg, number: i32) {
        self.add(ALU64 | 0x40, to, Reg(0), 0, number);
    }

    /// `to =` address of the map, for a call.
    pub(crate) fn map(&mut self, to: Reg, map: &Map) {
        let fd = map.number().cast_signed();
        self.add(LD | IMM | DOUBLE_WORD, to, Reg(PSEUDO_MAP_FD), 0, fd);
        self.add(0, Reg(0), Reg(0), 0, 0);
    }

    /// Loads a field of the frame at offset `place` into register 0, in host byte order; the program ends with 0 if
    /// the frame is shorter. Register 6 must hold the context; registers 1 to 5 are lost.
    pub(crate) fn packet(&mut self, width: Width, place: i32) {
        self.add(LD | ABS | width as u8, Reg(0), Reg(0), 0, place);
    }

    /// `to = *(from + offset)`.
    pub(crate) fn load(&mut self, width: Width, to: Reg, from: Reg, offset: i16) {
        self.add(LDX | MEM | width as u8, to, from, offset, 0);
    }

    /// `*(to + offset) = from`.
    pub(crate) fn store(&mut self, width: Width, to: Reg, offset: i16, from: Reg) {
        self.add(STX | MEM | width as u8, to, from, offset, 0);
    }

    /// `*(to + offset) = number`.
    pub(crate) fn store_number(&mut self, width: Width, to: Reg, offset: i16, number: i32) {
        self.add(ST | MEM | width as u8, to, Reg(0), offset, number);
    }

    /// `*(to + offset) += from`, 64 bits, atomically.
    pub(crate) fn atomic_add(&mut self, to: Reg, offset: i16, from: Reg) {
        self.add(STX | ATOMIC | DOUBLE_WORD, to, from, offset, 0);
    }

    /// Calls the kernel's function with this number (`enum bpf_func_id`); the result is in register 0.
    pub(crate) fn call(&mut self, function: i32) {
        self.add(JMP | 0x80, Reg(0), Reg(0), 0, function);
    }

    /// Jumps to `label`.
    pub(crate) fn jump(&mut self, label: Label) {
        self.add_jump(JMP, Reg(0), Reg(0), 0, label);
    }

    /// Jumps to `label` if `a == number`.
    pub(crate) fn jump_if_equal(&mut self, a: Reg, number: i32, label: Label) {
        self.add_jump(JMP | 0x10, a, Reg(0), number, label);
    }

    /// Jumps to `label` if `a != number`.
    pub(crate) fn jump_if_not_equal(&mut self, a: Reg, number: i32, label: Label) {
        self.add_jump(JMP | 0x50, a, Reg(0), number, label);
    }

    /// Jumps to `label` if `a >= b`, as signed numbers.
    pub(crate) fn jump_if_at_least(&mut self, a: Reg, b: Reg, label: Label) {
        self.add_jump(JMP | REGISTER | 0x70, a, b, 0, label);
    }

    /// Exits with the value of register 0.
    pub(crate) fn exit(&mut self) {
        self.add(JMP | 0x90, Reg(0), Reg(0), 0, 0);
    }

    fn add(&mut self, code: u8, to: Reg, from: Reg, offset: i16, number: i32) {
        self.instructions.push(Instruction {
            code,
            to,
            from,
            offset,
            number,
            jump: None,
        });
    }

    fn add_jump(&mut self, code: u8, to: Reg, from: Reg, number: i32, label: Label) {
        self.add(code, to, from, 0, number);
        if let Some(last) = self.instructions.last_mut() {
            last.jump = Some(label);
        }
    }

    /// Returns the encoded program. A jump to an undefined label goes to itself, which the verifier rejects.
    pub(super) fn assemble(&self) -> Vec<u64> {
        let words = self.instructions.iter().enumerate().map(|(at, one)| {
            let offset = one
                .jump
                .map_or(one.offset, |label| self.distance(at, label));
            let registers = if cfg!(target_endian = "little") {
                one.from.0 << 4 | one.to.0
            } else {
                one.to.0 << 4 | one.from.0
            };
            let [o0, o1] = offset.to_ne_bytes();
            let [n0, n1, n2, n3] = one.number.to_ne_bytes();
            u64::from_ne_bytes([one.code, registers, o0, o1, n0, n1, n2, n3])
        });
        words.collect()
    }

    fn distance(&self, at: usize, label: Label) -> i16 {
        let found = self.labels.iter().find(|(name, _)| *name == label);
        found
            .and_then(|(_, place)| i16::try_from(place.checked_sub(at + 1)?).ok())
            .unwrap_or(-1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_words_that_the_kernel_reads() {
        let mut program = Program::default();
        program.copy(Reg(6), Reg(1));
        program.packet(Width::Byte, 0);
        program.jump_if_equal(Reg(0), 1, Label("end"));
        program.set(Reg(0), -1);
        program.label(Label("end"));
        program.exit();
        let bytes: Vec<[u8; 8]> = program.assemble().iter().map(|w| w.to_ne_bytes()).collect();
        if cfg!(target_endian = "little") {
            // As printed by llvm-objdump and by the verifier.
            let expected = [
                [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
                [0x30, 0x00, 0, 0, 0, 0, 0, 0],
                [0x15, 0x00, 1, 0, 1, 0, 0, 0],
                [0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff],
                [0x95, 0x00, 0, 0, 0, 0, 0, 0],
            ];
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_jump_to_nowhere_goes_to_itself() {
        let mut program = Program::default();
        program.jump(Label("nowhere"));
        let [.., word] = program.assemble()[..] else {
            panic!("a word");
        };
        assert_eq!(word.to_ne_bytes()[2..4], (-1_i16).to_ne_bytes());
    }
}
