//! `#[derive(LogicStruct)]`.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput};

/// `Synth` for a struct, the accessors that kernels need to find a field, and the way into RustHDL's own bits, from which
/// literals are made.
pub fn derive(input: DeriveInput) -> TokenStream {
    let name = &input.ident;
    let Data::Struct(data) = &input.data else {
        return syn::Error::new_spanned(name, "LogicStruct is for structs")
            .to_compile_error()
            .into();
    };
    if !input.generics.params.is_empty() {
        return syn::Error::new_spanned(&input.generics, "LogicStruct is for structs without parameters")
            .to_compile_error()
            .into();
    }
    let (mut ids, mut types, mut widths, mut offsets, mut before) = (vec![], vec![], vec![], vec![], vec![]);
    for field in &data.fields {
        let Some(id) = field.ident.as_ref() else {
            return syn::Error::new_spanned(field, "LogicStruct needs named fields")
                .to_compile_error()
                .into();
        };
        let earlier = types.clone();
        before.push(quote!(0usize #(+ <#earlier as Synth>::BITS)*));
        widths.push(format_ident!("get_my_width_{}", id));
        offsets.push(format_ident!("get_my_offset_{}", id));
        ids.push(id);
        types.push(&field.ty);
    }
    quote! {
        impl #name {
            #(
                #[doc(hidden)]
                pub fn #widths(&self) -> usize {
                    <#types as Synth>::BITS
                }
                #[doc(hidden)]
                pub fn #offsets(&self) -> usize {
                    #before
                }
            )*
        }

        impl From<#name> for ::rust_hdl::core::bits::Bits<{ <#name as Synth>::BITS }> {
            fn from(x: #name) -> Self {
                Self::default() #(
                    | (::rust_hdl::core::bits::bit_cast::<{ <#name as Synth>::BITS }, { <#types as Synth>::BITS }>(
                        x.#ids.into(),
                    ) << (x.#offsets() as u64))
                )*
            }
        }

        impl Synth for #name {
            const BITS: usize = 0usize #(+ <#types as Synth>::BITS)*;

            fn descriptor() -> TypeDescriptor {
                TypeDescriptor {
                    name: stringify!(#name).to_string(),
                    kind: TypeKind::Composite(vec![#(Box::new(TypeField {
                        fieldname: stringify!(#ids).to_string(),
                        kind: <#types as Synth>::descriptor(),
                    })),*]),
                }
            }

            fn vcd(self) -> VCDValue {
                VCDValue::Composite(vec![#(Box::new(self.#ids.vcd())),*])
            }

            fn verilog(self) -> VerilogLiteral {
                let bits: ::rust_hdl::core::bits::Bits<{ <#name as Synth>::BITS }> = self.into();
                bits.verilog()
            }
        }
    }
    .into()
}
